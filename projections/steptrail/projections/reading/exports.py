"""Events of a span of time as a file: written by the store, given on as it comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import query, scope
from steptrail.projections.reading.spans import Span
from steptrail.schemas.status import ProcessingStatus

EventFormat = Literal["jsonl", "csv", "parquet"]
_FORMATS: Final = {"jsonl": "JSONEachRow", "csv": "CSVWithNames", "parquet": "Parquet"}
_SETTINGS: Final[dict[str, Any]] = {
    "date_time_output_format": "iso",
    "max_memory_usage": 1_000_000_000,
    "max_threads": 2,
    "output_format_parquet_row_group_size": 100_000,
    "output_format_json_quote_64bit_integers": 0,
}


def export_events(
    clickhouse: ClickHouse,
    pipeline: str | None,
    span: Span,
    form: EventFormat,
    statuses: Collection[ProcessingStatus] = tuple(ProcessingStatus),
) -> Iterator[bytes]:
    """The events of the span, each once, as JSON lines, CSV or Parquet; `details` and the like are JSON texts.

    Memory stays bounded however many there are. Raises the store's errors, also in the middle.
    """
    parameters = {
        **scope(pipeline, clickhouse),
        **span.parameters(),
        "statuses": sorted({ProcessingStatus(status).value for status in statuses}),
    }
    return clickhouse.stream(f"{query('export_events')}\nFORMAT {_FORMATS[form]}", parameters, _SETTINGS)
