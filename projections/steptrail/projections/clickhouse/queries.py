"""The reader's statements, kept as SQL beside this file; values reach them only as bound parameters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch, StoreUnavailable
from steptrail.schemas.configuration.stack_file import read_stack_file
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.stored_names import MAX_NAME_BYTES, stored_name

_INCLUDE = "-- include: "
_MISSING_TABLES = frozenset({60, 81})  # UNKNOWN_TABLE, UNKNOWN_DATABASE


class Store(Protocol):
    """What reading needs of ClickHouse."""

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """All rows of a statement, each by column name. Raises the errors of `clickhouse.errors`."""
        ...


@cache
def query(name: str) -> str:
    """The statement in `sql/<name>.sql`, with `-- include: other` lines replaced by `sql/<other>.sql`."""
    lines: list[str] = []
    for line in (
        (files("steptrail.projections") / "sql" / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    ):
        start, include, other = line.partition(_INCLUDE)
        lines.append(query(other.strip()) if include and not start.strip() else line)
    return "\n".join(lines)


def ask(
    store: Store, name: str, parameters: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows that `sql/<name>.sql` gives.

    Raises StoreUnavailable and SchemaMismatch with what to do about it; other errors as they are.
    """
    return ask_sql(store, query(name), parameters, settings)


def ask_sql(
    store: Store, sql: str, parameters: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows that a statement gives which is put together in Python; like `ask`."""
    try:
        return store.rows(sql, parameters, settings)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"{error}\nIs ClickHouse running there? STEPTRAIL_CLICKHOUSE says where it is; {_local_stack()}."
        ) from error
    except QueryError as error:
        if error.code in _MISSING_TABLES:
            raise SchemaMismatch(
                f"{error}\nThe tables are not there yet: run `steptrail migrate`."
            ) from error
        raise


def _local_stack() -> str:
    try:
        running = read_stack_file()
    except ConfigurationError:
        running = None
    if running is None:
        return "`steptrail up` starts a local stack"
    return f"of the local stack in {running.dir}, `steptrail status` shows the parts"


def scope(pipeline: str | None, store: Store | None = None) -> dict[str, Any]:
    """The parameters of a statement about one pipeline, or about all of them (None)."""
    return {"any_pipeline": pipeline is None, "pipeline": stored(pipeline or "", store)}


def stored(name: str, store: Store | None = None) -> str:
    """A name as emitters write it, by the limit of the settings that the store was connected with, else the default."""
    return stored_name(name, getattr(store, "max_name_bytes", MAX_NAME_BYTES))


def micros(name: str, moment: datetime | None, default: int) -> int:
    """Microseconds since the epoch, `default` for None; raises TypeError or ValueError that calls it `name`."""
    if moment is None:
        return default
    if not isinstance(moment, datetime):
        raise TypeError(f"{name} must be a datetime with a time zone, not {type(moment).__name__}")
    try:
        return us_from_datetime(moment)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def positive(name: str, value: int) -> int:
    """`value`, which must be at least 1; raises ValueError that calls it `name`."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value
