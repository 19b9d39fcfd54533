"""Statements about hundreds of documents: more names than fit into a request's address, where parameters are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from steptrail.projections.clickhouse.queries import Store, ask_sql, query
from steptrail.projections.reading.spans import chunks

_PLACE: Final = "-- documents"
_MOST: Final = 5_000
_MOST_BYTES: Final = 100_000
"""Twice as many characters, well below the 262,144 that ClickHouse parses of a statement (`max_query_size`)."""
_SEPARATOR: Final = b"\xff"  # no byte of UTF-8


def ask_about(
    store: Store, name: str, documents: Sequence[tuple[str, str]], parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows that `sql/<name>.sql` gives of documents, each by pipeline and id, in as few statements as may be.

    The statement has a line `-- documents` where it names them. Each of its rows must depend on one document alone.
    Raises what `ask` does.
    """
    found: list[dict[str, Any]] = []
    for chunk in chunks(documents, _size, _MOST, _MOST_BYTES):
        found += ask_sql(store, query(name).replace(_PLACE, _named(chunk)), parameters)
    return found


def _named(documents: Sequence[tuple[str, str]]) -> str:
    """SQL: a row of pipeline and id for each. In hexadecimal digits there is nothing to escape."""
    pipelines, ids = zip(*documents, strict=True)
    pairs = f"arrayJoin(arrayZip({_array(pipelines)}, {_array(ids)})) AS document"
    return f"SELECT document.1, document.2 FROM (SELECT {pairs})"


def _array(names: Iterable[str]) -> str:
    digits = _SEPARATOR.join(name.encode() for name in names).hex()
    return f"splitByChar(unhex('{_SEPARATOR.hex()}'), unhex('{digits}'))"


def _size(document: tuple[str, str]) -> int:
    return sum(len(name.encode()) + len(_SEPARATOR) for name in document)
