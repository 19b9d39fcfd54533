"""The end of a demonstration, as a person and as a program reads it."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from steptrail.deploy.demo.run import DemoResult
from steptrail.deploy.terminal.output import cells, status_text, stdout, table
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
    verdict = (
        Text("they agree", style="bold green") if result.agree else Text("THEY DISAGREE", style="bold red")
    )
    shown = table("", "events", "", right=["events"], title="The three numbers")
    shown.add_row("emitted", f"{result.emitted:,}", "by the workers' own accounting")
    shown.add_row("delivered", f"{result.delivered:,}", "acknowledged by Kafka")
    shown.add_row("projected", f"{summary.events:,}", Text("distinct events in ClickHouse: ") + verdict)
    out = stdout()
    out.print(shown)
    for reason, count in result.lost.items():
        out.print(f"  not delivered: {count:,} {reason}", style="red")
    out.print(
        f"{result.documents:,} documents by {result.workers} workers in {show_duration(result.working_s * 1000)}; "
        f"the last event was readable {show_duration(result.projecting_s * 1000)} later: "
        f"{result.events_per_s:,.0f} events/s, paced by the work on the documents."
    )
    if summary.store_events > summary.events:
        out.print(f"With earlier runs the store holds {summary.store_events:,} events.")


def _print_steps(result: DemoResult) -> None:
    counts = ["success", "warning", "error", "failed", "skipped"]
    numbers = [*counts, "p50", "p95"]
    shown = table("step", *numbers, right=numbers, title="Endings by step")
    for row in result.summary.by_step:
        shown.add_row(
            row["step_name"],
            *[
                Text(f"{row[status]:,}", style=status_text(status.upper()).style if row[status] else "dim")
                for status in counts
            ],
            show_duration(_number(row["p50_ms"])),
            show_duration(_number(row["p95_ms"])),
        )
    stdout().print(shown)


def _print_errors(result: DemoResult) -> None:
    shown = table(
        "events", "step", "status", "error type", "for example", right=["events"], title="Most common errors"
    )
    for row in result.summary.errors:
        example = str(row["example"]).replace("\n", " ")
        shown.add_row(
            *cells(
                f"{row['events']:,}",
                row["step_name"],
                status_text(row["status"]),
                row["error_type"],
                example if len(example) <= 100 else example[:99] + "…",
            )
        )
    stdout().print(shown)


def _number(value: Any) -> float | None:
    """A quantile, None where there was nothing to take it from."""
    return None if value is None or value != value else float(value)
