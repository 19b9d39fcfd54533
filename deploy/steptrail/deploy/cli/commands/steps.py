"""`steptrail steps`, `throughput` and `waits`: how steps fare now and over time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    Every,
    Listing,
    Question,
    Step,
    Watch,
    answer,
    as_json,
    note_counted,
)
from steptrail.deploy.terminal.numbers import figure
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Styled, Table, note, say, show
from steptrail.deploy.terminal.times import (
    SINCE_HELP,
    Until,
    parse_duration,
    show_age,
    show_duration,
    show_time,
    span_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from steptrail.consumers.web.models.work import Point, StepRow, WaitRow
    from steptrail.projections.clickhouse.client import ClickHouse

_HEALTH_STYLES = {"CRITICAL": "bold red", "WARNING": "yellow", "HEALTHY": "green", "UNKNOWN": "bold magenta"}

Since = Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)]


def steps(
    since: Since = "1h",
    until: Until = None,
    pipeline: Pipeline = None,
    step: Step = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List every step with its health and figures.

    Those that need somebody come first: what fails, is stuck, runs and waits now, and the rate, errors and
    durations since --since. What happened since then is counted by the health consumer (steptrail run health), up
    to `counted_until`. With --json one object a line: `steptrail schema steps` describes it. Exits 1 for a
    pipeline or step of which nothing is known, 3 when the tables are further behind than --max-behind.

    \b
    steptrail steps
    steptrail steps --since 1d --pipeline invoices
    steptrail steps --watch
    """
    span = span_of(since, until, ends_now=True)

    def ask(clickhouse: ClickHouse, fresh: AsOf) -> Listing:
        from steptrail.consumers.web.service.now import numbers_now
        from steptrail.consumers.web.service.work import steps_answer

        now = numbers_now(clickhouse, pipeline, fresh.found)
        found = steps_answer(clickhouse, now, pipeline, step, span())
        draw = partial(_draw_steps, found.items, found.since, found.counted_until)
        about = {"since": found.since, "until": found.until, "counted_until": found.counted_until}
        return Listing(as_json(found.items), draw, about)

    question = Question(ask, ("pipeline", "step_name"), pipeline, step)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def throughput(
    since: Since = "1h",
    until: Until = None,
    bucket: Annotated[
        str | None,
        typer.Option(
            "--bucket", metavar="TIME", help="What one row stands for: 1m, 5m, 1h.", show_default=False
        ),
    ] = None,
    by_step: Annotated[bool, typer.Option("--by-step", "-g", help="Each step alone.")] = False,
    pipeline: Pipeline = None,
    step: Step = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show throughput and errors over time.

    Each row is a span of the broker's time, with how much ended, how much of it badly, and how long it took; where
    nothing happened there is no row. Minutes are counted by the health consumer, up to `counted_until`. With
    --json one object a line: `steptrail schema throughput` describes it. Exits as `steptrail steps` does.

    \b
    steptrail throughput --since 6h
    steptrail throughput --since 1d --bucket 1h --by-step --pipeline invoices
    """
    span, seconds = span_of(since, until, ends_now=True), _bucket(bucket)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.work import throughput_answer

        try:
            found = throughput_answer(clickhouse, pipeline, step, span(), seconds, by_step)
        except ValueError as error:
            raise CommandError(f"{error}.", exit_code=USAGE, kind="usage") from None
        draw = partial(_draw_points, found.items, found.bucket_seconds, found.counted_until)
        about = {"bucket_seconds": found.bucket_seconds, "counted_until": found.counted_until}
        return Listing(as_json(found.items), draw, about)

    question = Question(ask, ("begins", "pipeline", "step_name"), pipeline, step)
    answer(settings_for(directory), question, max_behind=max_behind, json=json)


def waits(
    since: Since = "1h",
    until: Until = None,
    pipeline: Pipeline = None,
    step: Step = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show how long documents wait between steps.

    A wait is from the end of one step of a document to the beginning of the next. Of very many executions it looks
    at one in `one_in` documents. With --json one object a line: `steptrail schema waits` describes it. Exits as
    `steptrail steps` does.

    \b
    steptrail waits --since 6h --pipeline invoices
    """
    span = span_of(since, until, ends_now=True)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.work import waits_answer

        found = waits_answer(clickhouse, pipeline, step, span())
        return Listing(
            as_json(found.items), partial(_draw_waits, found.items, found.one_in), {"one_in": found.one_in}
        )

    question = Question(ask, ("pipeline", "step_name", "after_step"), pipeline, step)
    answer(settings_for(directory), question, max_behind=max_behind, json=json)


def _bucket(text: str | None) -> int | None:
    from steptrail.projections.reading.throughput import BUCKETS

    seconds = None if text is None else parse_duration(text)
    if text is None or seconds in BUCKETS:
        return None if seconds is None else int(seconds)
    raise CommandError(
        f"--bucket {text!r} is not possible.",
        exit_code=USAGE,
        kind="usage",
        hint="one of 1m, 2m, 5m, 10m, 15m, 30m, 1h, 2h, 6h, 12h, 1d.",
    )


def _draw_steps(items: Sequence[StepRow], since: datetime, counted_until: datetime | None) -> None:
    if not items:
        say("No step was heard of.")
        return
    show_steps(items)
    note(f"Since {show_time(since)} UTC; failing, stalled, running and queued: now.")
    note_counted(counted_until)


def show_steps(items: Sequence[StepRow]) -> None:
    """Steps as a table."""
    columns = [
        Column("health"),
        Column("pipeline", 3, unless_same=True),
        Column("step"),
        Column("failing", 2, right=True),
        *(Column(name, 4, right=True) for name in ("stalled", "running", "queued")),
        Column("ended", 2, right=True),
        Column("errors", 2, right=True),
        Column("a minute", 7, right=True),
        *(Column(name, 6, right=True) for name in ("p50", "p95", "p99")),
        Column("last error", 8, wrap="words", label=True),
    ]
    table = Table(columns)
    for each in items:
        table.add(
            Styled(each.health, _HEALTH_STYLES.get(each.health, "")),
            each.pipeline,
            each.step_name,
            *_troubles(each.failing_documents, each.stalled),
            *(f"{n:,}" for n in (each.running, each.queued, each.ended)),
            _percent(each.error_ratio),
            figure(each.per_minute),
            *map(show_duration, (each.p50_ms, each.p95_ms, each.p99_ms)),
            f"{each.last_error}, {show_age(each.last_error_at)}"
            if each.last_error and each.last_error_at
            else "",
        )
    show(table)


def _troubles(*counts: int) -> list[Styled]:
    return [Styled(f"{count:,}", "red" if count else "") for count in counts]


def _draw_points(items: Sequence[Point], bucket_s: int, counted_until: datetime | None) -> None:
    if not items:
        say("Nothing was counted in this time.")
    else:
        show_points(items)
        note(f"Each row is {show_duration(bucket_s * 1000)}.")
    note_counted(counted_until)


def show_points(items: Sequence[Point]) -> None:
    """Throughput over time as a table."""
    by_step = any(each.step_name for each in items)
    columns = [
        Column("from (UTC)"),
        *([Column("pipeline", 3, unless_same=True), Column("step")] if by_step else []),
        Column("ended", right=True),
        Column("errors", right=True),
        Column("success", 5, right=True),
        Column("warning", 5, right=True),
        Column("error", 4, right=True),
        Column("failed", 4, right=True),
        *(Column(name, 3, right=True) for name in ("p50", "p95", "p99")),
    ]
    table = Table(columns)
    for each in items:
        table.add(
            show_time(each.begins),
            *([each.pipeline, each.step_name] if by_step else []),
            f"{each.ended:,}",
            _percent(each.error_ratio),
            *(f"{n:,}" for n in (each.success, each.warning, each.error, each.failed)),
            *map(show_duration, (each.p50_ms, each.p95_ms, each.p99_ms)),
        )
    show(table)


def _draw_waits(items: Sequence[WaitRow], one_in: int) -> None:
    if not items:
        say("No document went from one step to the next in this time.")
        return
    show_waits(items)
    if one_in > 1:
        note(f"Found in one of {one_in:,} documents.")


def show_waits(items: Sequence[WaitRow]) -> None:
    """Waits as a table."""
    columns = [
        Column("pipeline", 3, unless_same=True),
        Column("step"),
        Column("after"),
        Column("waits", 2, right=True),
        *(Column(name, right=True) for name in ("p50", "p95", "p99", "longest")),
    ]
    table = Table(columns)
    for each in items:
        durations = map(show_duration, (each.p50_ms, each.p95_ms, each.p99_ms, each.max_ms))
        table.add(each.pipeline, each.step_name, each.after_step, f"{each.waits:,}", *durations)
    show(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{figure(share * 100)} %"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (steps, throughput, waits):
        app.command()(command)
