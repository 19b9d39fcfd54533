"""`steptrail rebuild …`: build the projector's tables anew from the topic, beside the live ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.rebuild_answers import (
    as_json,
    diff_json,
    planned,
    show_diff,
    show_plan,
    show_progress,
)
from steptrail.deploy.terminal.failures import INTERRUPTED, NO, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for, spelled_out
from steptrail.deploy.terminal.output import note, write_json
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_duration

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from steptrail.consumers.rebuild.fill import Filling
    from steptrail.consumers.rebuild.rebuilding import RebuildProgress
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.lifecycle.rebuilds import Rebuild
    from steptrail.schemas.configuration.settings import Settings

_HELP = """
Build the projector's tables (steps, step_executions, emitter_sequences) anew from the topic, while the live ones go on.

Without a command it shows how far the rebuild is. The steps of one: start fills new tables beside the live ones, diff
compares them, exchange makes them live, back returns to the old ones, drop ends it. Each goes on where it was cut off,
and shows what it would do until it is given --yes. Verdicts, alerts, error groups, dead letters and what people wrote
are not rebuilt, and stay as they are.

With --json one object: rebuild, state, side (which tables are not live: rebuild, the new ones, or before, the old
ones), pipelines, since, at, requested_by, partitions (begin, next, live, end), left, per_second, seconds_left; all
null or empty without a rebuild. With a change also dry_run. start: reads, copies, expired, live_bytes.

\b
steptrail rebuild                      how far it is
steptrail rebuild start                what it would read and copy; with --yes it does
steptrail rebuild diff                 where new and live tables differ, and why; exits 1 when they do
steptrail rebuild exchange             the new tables become the live ones
steptrail rebuild back                 the old ones are live again, with all that came meanwhile
steptrail rebuild drop                 drop the tables that are not live
"""


def show_rebuild(context: typer.Context, json: Json = False, directory: StackDir = None) -> None:
    """Show how far it is."""
    if context.invoked_subcommand is not None:
        return
    from steptrail.consumers.rebuild.rebuilding import current, progress

    with _store(directory) as (settings, clickhouse):
        rebuild = current(clickhouse)
        found = None if rebuild is None else progress(settings, clickhouse, rebuild)
    _answer(found, json)


def start(
    pipelines: Annotated[
        list[str] | None,
        typer.Option(
            "--pipelines",
            "-p",
            metavar="PIPELINE",
            help="Only this pipeline, or these; rows of others are copied as they are.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help=f"Only what the broker had since then; earlier rows are copied as they are. {SINCE_HELP}",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Begin a rebuild, or go on with the one that was begun, until the new tables have caught up with the topic.

    What the topic has let go of already is copied from the live tables as it is. It can be stopped at any time; the
    same command goes on. While Kafka or ClickHouse is away, or the disk is full, it waits and says so.
    """
    from steptrail.consumers.rebuild import rebuilding
    from steptrail.deploy.cli.commands.dlq.options import author

    moment = None if since is None else parse_since(since)
    names = [str(spelled_out(name)) for name in pipelines or []]
    with _store(directory) as (settings, clickhouse):
        rebuild = rebuilding.current(clickhouse)
        if rebuild is not None and (moment is not None or names):
            raise CommandError(
                f"rebuild {rebuild.short} is {rebuild.state.value} already; its --since and --pipelines stand.",
                exit_code=USAGE,
                kind="rebuild_runs",
                hint="leave the options out to go on with it, or `steptrail rebuild drop --yes` first.",
            )
        if rebuild is None:
            for name in names:
                _require_known(clickhouse, name)
            plan = rebuilding.plan(
                settings, clickhouse, pipelines=names, since=moment, by=author().decided_by
            )
            if not yes:
                note_dry_run()
                if json:
                    write_json({**as_json(None), **planned(plan), "dry_run": True})
                else:
                    show_plan(plan)
                return
            rebuild = rebuilding.start(clickhouse, plan)
        _change(
            settings,
            clickhouse,
            rebuild,
            lambda one, stop: rebuilding.go_on(settings, clickhouse, one, stop, _telling()),
            yes=yes,
            json=json,
            would="reads on until the new tables have caught up with the topic",
        )


def diff(json: Json = False, directory: StackDir = None) -> None:
    """Compare the new tables with the live ones, by day, pipeline and status; after the exchange the old ones.

    Compared are the events up to the last offset that both have. Exits 1 when they differ. With --json one object:
    events, differences (day, pipeline, status, live, other, only_live, only_other, changed), examples (with reason).
    """
    from steptrail.consumers.rebuild.rebuilding import compare, current, required, shadow_side
    from steptrail.projections.lifecycle.shadow_tables import Side

    with _store(directory) as (settings, clickhouse):
        rebuild = required(current(clickhouse))
        found = compare(settings, clickhouse, rebuild)
    if json:
        write_json(diff_json(found))
    else:
        show_diff(found, "new" if shadow_side(rebuild) is Side.NEW else "old")
    if found.differences:
        raise typer.Exit(NO)


def exchange(yes: Yes = False, json: Json = False, directory: StackDir = None) -> None:
    """Make the new tables the live ones. Projectors wait for a moment, and go on; nothing is lost or stored twice."""
    from steptrail.projections.lifecycle.shadow_tables import Side

    _exchange(Side.NEW, "the new tables become the live ones; the old ones are kept", yes, json, directory)


def back(yes: Yes = False, json: Json = False, directory: StackDir = None) -> None:
    """Return to the old tables, after they have read what came since the exchange."""
    from steptrail.projections.lifecycle.shadow_tables import Side

    _exchange(
        Side.OLD, "the old tables become the live ones again; the new ones are kept", yes, json, directory
    )


def drop(yes: Yes = False, json: Json = False, directory: StackDir = None) -> None:
    """End the rebuild: drop the tables that are not live, the new ones before an exchange, the old ones after it."""
    from steptrail.consumers.rebuild import rebuilding

    with _store(directory) as (settings, clickhouse):
        rebuild = rebuilding.current(clickhouse)
        if rebuild is None:
            left = yes and rebuilding.drop_leftovers(clickhouse)
            note("Dropped what was left of the last rebuild." if left else "There is no rebuild.")
            _answer(None, json, dry_run=not yes)
            return
        side = rebuilding.shadow_side(rebuild)

        def dropped(one: Rebuild, _: threading.Event) -> None:
            rebuilding.drop(clickhouse, one)

        _change(
            settings, clickhouse, rebuild, dropped, yes=yes, json=json,
            would=f"drops the {'new' if side is side.NEW else 'old'} tables",
        )  # fmt: skip


def _exchange(side: Any, would: str, yes: bool, json: bool, directory: Path | None) -> None:
    from steptrail.consumers.rebuild import rebuilding
    from steptrail.deploy.cli.commands.dlq.options import author

    with _store(directory) as (settings, clickhouse):
        rebuild = rebuilding.may_exchange(rebuilding.current(clickhouse), side)
        _change(
            settings,
            clickhouse,
            rebuild,
            lambda one, stop: rebuilding.exchange(
                settings, clickhouse, one, side, stop, _telling(), by=author().decided_by
            ),
            yes=yes,
            json=json,
            would=would,
        )


def _change(
    settings: Settings,
    clickhouse: ClickHouse,
    rebuild: Rebuild,
    change: Callable[[Rebuild, threading.Event], object],
    *,
    yes: bool,
    json: bool,
    would: str,
) -> None:
    from steptrail.consumers.rebuild.rebuilding import current, progress
    from steptrail.consumers.runtime.signals import stop_at_signals

    stop = None
    if yes:
        stop = stop_at_signals()
        change(rebuild, stop)
    else:
        note(f"It {would}.")
        note_dry_run()
    now = current(clickhouse)
    _answer(None if now is None else progress(settings, clickhouse, now), json, dry_run=not yes)
    if stop is not None and stop.is_set():
        note("It was stopped; the same command goes on with it.")
        raise typer.Exit(INTERRUPTED)


def _require_known(clickhouse: ClickHouse, pipeline: str) -> None:
    from steptrail.projections.reading.known_names import unknown_name

    if (unknown := unknown_name(clickhouse, pipeline)) is not None:
        raise CommandError(
            f"no event of a pipeline {pipeline!r} is stored. Nothing was changed.",
            kind="unknown_pipeline",
            near=unknown.near,
        )


@contextmanager
def _store(directory: Path | None) -> Iterator[tuple[Settings, ClickHouse]]:
    """The settings and the store, with refusals of a rebuild as errors of the command."""
    from steptrail.consumers.rebuild.rebuilding import RebuildRefused
    from steptrail.consumers.rebuild.sink import RebuildTakenOver
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.migrate import require_current
    from steptrail.projections.lifecycle.exchange import ExchangeRefused

    settings = settings_for(directory)
    if settings.clickhouse_layout != "single":
        raise CommandError(
            f"tables of a cluster cannot be rebuilt yet, and STEPTRAIL_CLICKHOUSE_LAYOUT is "
            f"{settings.clickhouse_layout}: a hold is seen by one server only.",
            exit_code=USAGE,
            kind="layout",
            hint="a store on a single server can be rebuilt (docs/cluster.md).",
        )
    with connect(settings) as clickhouse:
        require_current(clickhouse)
        try:
            yield settings, clickhouse
        except (RebuildRefused, RebuildTakenOver, ExchangeRefused) as error:
            raise _refused(error) from None


def _refused(error: Exception) -> CommandError:
    return CommandError(str(error), kind="rebuild_refused", hint=getattr(error, "hint", None))


def _telling() -> Callable[[Filling], None]:
    """Says on standard error how far it is."""

    def tell(now: Filling) -> None:
        if now.waiting_for is not None and now.left:
            note(f"Waiting for {now.waiting_for}")
            return
        copied = f"{counted(now.copied, 'row')} copied, " if now.copied else ""
        left = "" if now.seconds_left is None else f", {show_duration(now.seconds_left * 1000)} left"
        note(f"{copied}{now.events:,} events read, {now.left:,} left, {now.per_second:,.0f} a second{left}.")

    return tell


def _answer(found: RebuildProgress | None, json: bool, **more: bool) -> None:
    if json:
        write_json({**as_json(found), **more})
    else:
        show_progress(found)


def register(app: typer.Typer) -> None:
    """Add `rebuild` and its commands."""
    group = typer.Typer(help=_HELP, invoke_without_command=True, rich_markup_mode=None)
    group.callback(help=_HELP)(show_rebuild)
    for command in (start, diff, exchange, back, drop):
        group.command()(command)
    app.add_typer(group, name="rebuild")
