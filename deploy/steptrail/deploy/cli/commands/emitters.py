"""`steptrail emitters`: who emits, what became of it, and how right their clocks are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import NO, CommandError
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, show, write_json_lines
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_age, show_duration

if TYPE_CHECKING:
    from steptrail.projections.reading.emitters import EmitterState


def emitters(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1d",
    off: Annotated[bool, typer.Option("--off", help="Only those whose clock is off.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")] = 50,
    pipeline: Pipeline = None,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List emitters by their latest report, newest first: one per manager and process.

    Counts are those of its last report, which it sends when its first event is delivered, while it loses events, and
    when it closes. The clock is how far the worker's is from the brokers', as delivery reports show it; times that an
    emitter measures are corrected when it is off by more than half a second. With --json one object a line:
    emitter_id, worker (host:pid), pipeline, state, arrived, accepted, delivered, failed, maybe_delivered, dropped,
    pending, missing, reasons, last_event_at, last_report_at, clock_offset_ms (to be added to the worker's clock;
    null: not known), clock_uncertainty_ms, clock_off. Exits 1 when there is none.

    \b
    steptrail emitters
    steptrail emitters --off                        whose clock is wrong?
    steptrail emitters --json | jq -r 'select(.dropped > 0) | .worker'
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.reading.emitters import emitters as find

    with connect(settings_for(directory)) as clickhouse:
        found = find(clickhouse, pipeline, parse_since(since), limit, only_off=off)
    if not found:
        where = f" in pipeline {pipeline!r}" if pipeline else ""
        what = "no emitter whose clock is off" if off else "no emitter"
        raise CommandError(
            f"{what} was heard of since {since}{where}.",
            exit_code=NO,
            kind="no_emitters",
            hint="an emitter is listed once its first events are projected; --since looks further back.",
        )
    if json:
        write_json_lines({**asdict(each), "clock_off": each.clock_off} for each in found)
    else:
        _show(found)


def _show(found: list[EmitterState]) -> None:
    several = len({each.pipeline for each in found}) > 1
    columns = [
        Column("worker", wrap="never"),
        *[Column("pipeline", 3, wrap="never")] * several,
        Column("state", 4),
        Column("heard of", 2, right=True),
        *(Column(name, 3, right=True) for name in ("accepted", "delivered")),
        *(Column(name, right=True) for name in ("failed", "dropped")),
        Column("clock", 2),
    ]
    table = Table(columns, title="Emitters")
    for each in found:
        table.add(
            each.worker,
            *[each.pipeline] * several,
            "closed" if each.state == "closed" else "open",
            show_age(each.last_heard_at) if each.last_heard_at else "",
            *(f"{count:,}" for count in (each.accepted, each.delivered, each.failed, each.dropped)),
            clock_text(each.clock_offset_ms, each.clock_uncertainty_ms),
        )
    show(table, first=True)


def clock_text(offset_ms: float | None, uncertainty_ms: float | None) -> str:
    """A clock for people: `90.0 s behind ± 12 ms`, `right ± 12 ms`."""
    if offset_ms is None or uncertainty_ms is None:
        return "not known"
    within = f"± {show_duration(uncertainty_ms)}"
    if abs(offset_ms) <= uncertainty_ms:
        return f"right {within}"
    return f"{show_duration(abs(offset_ms))} {'behind' if offset_ms > 0 else 'ahead'} {within}"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(emitters)
