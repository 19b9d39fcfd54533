"""Events and executions of a span of time as a file: written by the store, passed on as it comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import ask, query
from steptrail.projections.reading.spans import Span, step_scope
from steptrail.schemas.status import ProcessingStatus

EventFormat = Literal["jsonl", "csv", "parquet"]
_FORMATS: Final = {"jsonl": "JSONEachRow", "csv": "CSVWithNames", "parquet": "Parquet"}
_TEXTS: Final = {
    "export_events": ("pipeline", "doc_id", "step_name", "error_type", "error_message", "worker"),
    "export_executions": ("pipeline", "doc_id", "step_name"),
}
_FORMULA: Final = r"^[=+\\-@\\t\\r\\n＝＋－＠]"
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
    step_name: str | None = None,
) -> Iterator[bytes]:
    """The events of the span, each once, as JSON lines, CSV or Parquet; `details` and the like are JSON texts.

    In CSV a text that a spreadsheet would take for a formula has an apostrophe before it.

    Memory stays bounded however many there are. Raises the store's errors, also in the middle.
    """
    parameters = _parameters(clickhouse, pipeline, step_name, span, statuses)
    return _stream(clickhouse, "export_events", parameters, form)


def export_executions(
    clickhouse: ClickHouse,
    pipeline: str | None,
    span: Span,
    form: EventFormat,
    statuses: Collection[ProcessingStatus] = tuple(ProcessingStatus),
    step_name: str | None = None,
) -> Iterator[bytes]:
    """The executions that began within the span, each once, in the same formats."""
    parameters = _parameters(clickhouse, pipeline, step_name, span, statuses)
    return _stream(clickhouse, "export_executions", parameters, form)


def events_to_export(
    clickhouse: ClickHouse,
    pipeline: str | None,
    span: Span,
    statuses: Collection[ProcessingStatus] = tuple(ProcessingStatus),
    step_name: str | None = None,
) -> int:
    """About how many events `export_events` gives, found quickly: an event that was sent twice may count twice."""
    parameters = _parameters(clickhouse, pipeline, step_name, span, statuses)
    [row] = ask(clickhouse, "export_events_rows", parameters)
    return int(row["events"])


def _parameters(
    clickhouse: ClickHouse,
    pipeline: str | None,
    step_name: str | None,
    span: Span,
    statuses: Collection[ProcessingStatus],
) -> dict[str, Any]:
    return {
        **step_scope(clickhouse, pipeline, step_name),
        **span.parameters(),
        "statuses": sorted({ProcessingStatus(status).value for status in statuses}),
    }


def _stream(
    clickhouse: ClickHouse, name: str, parameters: dict[str, Any], form: EventFormat
) -> Iterator[bytes]:
    statement = query(name)
    if form == "csv":
        guarded = ", ".join(_guarded(column) for column in _TEXTS[name])
        statement = f"SELECT * REPLACE ({guarded}) FROM\n(\n{statement}\n)"
    return clickhouse.stream(f"{statement}\nFORMAT {_FORMATS[form]}", parameters, _SETTINGS)


def _guarded(column: str) -> str:
    """The column with an apostrophe before a text that a spreadsheet would take for a formula."""
    return f"if(match(ifNull({column}, ''), '{_FORMULA}'), concat('\\'', {column}), {column}) AS {column}"
