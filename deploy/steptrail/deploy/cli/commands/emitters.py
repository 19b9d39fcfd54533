"""`steptrail emitters`: who emits, what became of it, and how right their clocks are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import NO, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    Every,
    Limit,
    Listing,
    Question,
    Watch,
    answer,
    as_json,
)
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, show
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_age, show_duration

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.reading.emitters import EmitterState


def emitters(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1d",
    off: Annotated[bool, typer.Option("--off", help="Only those whose clock is off.")] = False,
    limit: Limit = 50,
    pipeline: Pipeline = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
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
    parse_since(since)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.models.operations import EmitterRow
        from steptrail.projections.reading.emitters import emitters as find

        found = find(clickhouse, pipeline, parse_since(since), limit, only_off=off)
        if not found and not watch:  # who watches waits for the first
            raise _nobody(since, pipeline, off=off)
        return Listing(as_json([EmitterRow.model_validate(each) for each in found]), partial(_show, found))

    question = Question(ask, ("emitter_id",), pipeline)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def _nobody(since: str, pipeline: str | None, *, off: bool) -> CommandError:
    where = f" in pipeline {pipeline!r}" if pipeline else ""
    return CommandError(
        f"{'no emitter whose clock is off' if off else 'no emitter'} was heard of since {since}{where}.",
        exit_code=NO,
        kind="no_emitters",
        hint="an emitter is listed once its first events are projected; --since looks further back.",
    )


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
