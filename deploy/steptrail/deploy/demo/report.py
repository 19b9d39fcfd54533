"""The end of a demonstration, as a person and as a program reads it."""

from __future__ import annotations

from typing import Any

from steptrail.deploy.demo.run import DemoResult
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.output import STATUS_STYLES, Column, Styled, Table, say, show, status_text
from steptrail.deploy.terminal.times import show_duration


def as_json(result: DemoResult) -> dict[str, Any]:
    """The result as one JSON object; the three numbers are `emitted`, `delivered` and `projected`."""
    summary = result.summary
    return {
        "run": result.run,
        "agree": result.agree,
        "documents": result.documents,
        "emitted": result.emitted,
        "delivered": result.delivered,
        "projected": summary.events,
        "documents_projected": summary.documents,
        "lost": result.lost,
        "events_per_s": round(result.events_per_s, 1),
        "working_s": round(result.working_s, 3),
        "projecting_s": round(result.projecting_s, 3),
        "workers": result.workers,
        "steps": summary.by_step,
        "errors": summary.errors,
        "store": {"events": summary.store_events, "documents": summary.store_documents},
        "interesting_document": summary.interesting,
    }


def print_report(result: DemoResult) -> None:
    """The figures, the table by step and the most common errors."""
    _print_steps(result)
    _print_errors(result)
    _print_figures(result)


def _print_figures(result: DemoResult) -> None:
    summary = result.summary
    agree = "they agree" if result.agree else "THEY DISAGREE"
    columns = [Column("what"), Column("events", right=True), Column("how it is known", wrap="words")]
    table = Table(columns, title="The three numbers")
    table.add("emitted", f"{result.emitted:,}", "by the workers' own accounting")
    table.add("delivered", f"{result.delivered:,}", "acknowledged by Kafka")
    table.add("projected", f"{summary.events:,}", "distinct events in ClickHouse")
    show(table)
    say(Styled(agree, "bold green" if result.agree else "bold red"))
    for reason, count in result.lost.items():
        say(f"  not delivered: {count:,} {reason}", style="red")
    say(
        f"{counted(result.documents, 'document')} by {counted(result.workers, 'worker')} in "
        f"{show_duration(result.working_s * 1000)}; "
        f"the last event was readable {show_duration(result.projecting_s * 1000)} later: "
        f"{result.events_per_s:,.0f} events/s, paced by the work on the documents."
    )
    if summary.store_events > summary.events:
        say(f"With earlier runs the store holds {counted(summary.store_events, 'event')}.")


def _print_steps(result: DemoResult) -> None:
    counts = ["success", "warning", "error", "failed", "skipped"]
    numbers = [Column(name, right=True) for name in (*counts, "p50", "p95")]
    table = Table([Column("step"), *numbers], title="Endings by step")
    for row in result.summary.by_step:
        table.add(
            row["step_name"],
            *[
                Styled(f"{row[status]:,}", STATUS_STYLES[status.upper()] if row[status] else "dim")
                for status in counts
            ],
            show_duration(_number(row["p50_ms"])),
            show_duration(_number(row["p95_ms"])),
        )
    show(table)


def _print_errors(result: DemoResult) -> None:
    columns = [
        Column("events", right=True),
        Column("step"),
        Column("status"),
        Column("error type", 2),
        Column("for example", 3, wrap="words", lines=2),
    ]
    table = Table(columns, title="Most common errors")
    for row in result.summary.errors:
        table.add(
            f"{row['events']:,}",
            row["step_name"],
            status_text(row["status"]),
            row["error_type"],
            row["example"],
        )
    show(table)


def _number(value: Any) -> float | None:
    """A quantile, None where there was nothing to take it from."""
    return None if value is None or value != value else float(value)
