"""`steptrail retention …`: for how long events are kept, by pipeline."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import (
    Json,
    StackDir,
    note_dry_run,
    require_one_store,
    settings_for,
    spelled_out,
)
from steptrail.deploy.terminal.output import Column, Table, note, say, show, tell, write_json
from steptrail.deploy.terminal.times import show_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steptrail.consumers.kafka.topic_retention import TopicRetention
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.lifecycle.retention import Expired, Kept, Removed
    from steptrail.projections.lifecycle.retention_rules import RetentionRule, RetentionRules
    from steptrail.schemas.configuration.settings import Settings

_HELP = """
For how long events are kept, and everything that is made of them: by pipeline, with a default and legal holds.

Without a command it shows the rules, what is stored of each pipeline and when the oldest of it goes, and beside it for
how long Kafka keeps the topics. A rule counts whole days (UTC) from when the broker had an event. The projector applies
the rules once a day and when they change. Changes show what they would remove; --yes makes them, and removes it.

With --json one object: default, pipelines (pipeline, days, own, held, reason, changed_by, changed_at, events,
oldest_at, newest_at, goes_at), topics (topic, retention_ms, compacted). With a change also: dry_run, expired (what
goes, by table and pipeline), removed (by table).

\b
steptrail retention                              what holds, what is stored
steptrail retention set invoices 90d             what would go; with --yes it goes
steptrail retention set invoices default         as the default says
steptrail retention default 1y                   for all pipelines without a rule of their own; none: for ever
steptrail retention hold invoices --reason "case 4711"
steptrail retention release invoices
steptrail retention apply                        what is too old now; with --yes it goes
"""

PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline.", callback=spelled_out)]
Duration = Annotated[str, typer.Argument(metavar="DURATION", help="Such as 90d, 12w, 1y, or none: for ever.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for whoever looks later.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; without it nothing is changed.")]
Absent = Annotated[bool, typer.Option("--absent", help="Also for a pipeline of which nothing is stored.")]


def show_retention(context: typer.Context, json: Json = False, directory: StackDir = None) -> None:
    """Show what holds."""
    if context.invoked_subcommand is not None:
        return
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.migrate import require_current
    from steptrail.projections.lifecycle.retention import kept
    from steptrail.projections.lifecycle.retention_rules import retention_rules

    settings = settings_for(directory)
    require_one_store(settings)
    with connect(settings) as clickhouse:
        require_current(clickhouse)
        rules, stored = retention_rules(clickhouse), kept(clickhouse)
    topics = _topics(settings)
    if json:
        write_json(_as_json(rules, stored, topics))
    else:
        _show(rules, stored, topics)


def set_(
    pipeline: PipelineName,
    duration: Annotated[
        str, typer.Argument(metavar="DURATION", help="Such as 90d, 12w, 1y, none (for ever) or default.")
    ],
    reason: Reason = "",
    yes: Yes = False,
    absent: Absent = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Keep a pipeline's events for so long, or, with the word default, as long as the default says."""
    from steptrail.projections.lifecycle.retention_rules import parse_retention

    own = duration.strip().lower() != "default"
    days = parse_retention(duration) if own else None
    _change(
        directory, pipeline, lambda rule: replace(rule, days=days, own=own, reason=reason),
        yes=yes, absent=absent, as_json=json,
    )  # fmt: skip


def default(
    duration: Duration, reason: Reason = "", yes: Yes = False, json: Json = False, directory: StackDir = None
) -> None:
    """Keep the events of all pipelines that have no rule of their own for so long."""
    from steptrail.projections.lifecycle.retention_rules import DEFAULT, parse_retention

    days = parse_retention(duration)
    _change(
        directory, DEFAULT, lambda rule: replace(rule, days=days, own=True, reason=reason),
        yes=yes, absent=True, as_json=json,
    )  # fmt: skip


def hold(
    pipeline: PipelineName,
    reason: Reason = "",
    absent: Absent = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Put a pipeline under legal hold, at once: nothing of it goes by age until it is released."""
    _change(
        directory, pipeline, lambda rule: replace(rule, held=True, reason=reason),
        yes=True, absent=absent, as_json=json,
    )  # fmt: skip


def release(
    pipeline: PipelineName,
    reason: Reason = "",
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """End a pipeline's legal hold: its rule holds again."""

    def released(rule: RetentionRule) -> RetentionRule:
        if not rule.held:
            raise _usage(f"pipeline {pipeline!r} is under no legal hold.")
        return replace(rule, held=False, reason=reason)

    _change(directory, pipeline, released, yes=yes, absent=True, as_json=json)


def apply(yes: Yes = False, json: Json = False, directory: StackDir = None) -> None:
    """Remove what is too old by the rules now, without waiting for the projector to do it."""
    _change(directory, None, lambda rule: rule, yes=yes, absent=True, as_json=json)


def _change(
    directory: Path | None, pipeline: str | None, change: Any, *, yes: bool, absent: bool, as_json: bool
) -> None:
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.migrate import require_current
    from steptrail.projections.clickhouse.queries import stored
    from steptrail.projections.lifecycle.retention import apply as remove
    from steptrail.projections.lifecycle.retention import expired, kept
    from steptrail.projections.lifecycle.retention_rules import DEFAULT, retention_rules, write_rule

    settings = settings_for(directory)
    require_one_store(settings)
    with connect(settings) as clickhouse:
        require_current(clickhouse)
        if pipeline and not absent:
            _require_known(clickhouse, pipeline)
        before = rules = retention_rules(clickhouse)
        name = None if pipeline is None else stored(pipeline, clickhouse) if pipeline else DEFAULT
        if name is not None:
            rule = change(before.rule(name))
            rules = before.changed(replace(rule, changed_by=author().decided_by))
        going = expired(clickhouse, rules)
        removed: list[Removed] = []
        if yes:
            if name is not None:
                write_rule(clickhouse, rules.rule(name))
            removed = remove(clickhouse, rules)
            rules = retention_rules(clickhouse)
        found = kept(clickhouse)
    topics = _topics(settings)
    if not yes:
        note_dry_run()
    if as_json:
        write_json(
            {
                **_as_json(rules, found, topics),
                "dry_run": not yes,
                "expired": [vars_of(each) for each in going],
                "removed": [vars_of(each) for each in removed],
            }
        )
        return
    _show(rules, found, topics)
    _show_change(going, removed, yes=yes)
    _warn(rules, topics)


def vars_of(one: Any) -> dict[str, Any]:
    """The fields of a record with slots."""
    return {name: getattr(one, name) for name in one.__slots__}


def _require_known(clickhouse: ClickHouse, pipeline: str) -> None:
    from steptrail.projections.reading.known_names import unknown_name

    if (unknown := unknown_name(clickhouse, pipeline)) is not None:
        raise CommandError(
            f"no event of a pipeline {pipeline!r} is stored. Nothing was changed.",
            kind="unknown_pipeline",
            near=unknown.near,
            hint="--absent sets it all the same, for a pipeline that is to come.",
        )


def _topics(settings: Settings) -> list[TopicRetention]:
    from steptrail.consumers.kafka.topic_retention import topic_retentions
    from steptrail.schemas.errors import InfrastructureError

    try:
        return topic_retentions(settings)
    except InfrastructureError as error:
        note(f"How long Kafka keeps its topics is not known: {error}")
        return []


def _next(rules: RetentionRules, one: Kept) -> datetime | None:
    """When the oldest of a pipeline goes; None: not by age."""
    days = rules.days(one.pipeline)
    if days is None:
        return None
    try:
        return one.oldest_at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days + 1)
    except OverflowError:
        return None


def _rows(rules: RetentionRules, stored: Sequence[Kept]) -> list[tuple[str, RetentionRule, Kept | None]]:
    kept = {each.pipeline: each for each in stored}
    named = [name for name, rule in rules.of_pipelines.items() if rule.own or rule.held]
    return [(name, rules.rule(name), kept.get(name)) for name in sorted({*kept, *named})]


def _as_json(
    rules: RetentionRules, stored: Sequence[Kept], topics: Sequence[TopicRetention]
) -> dict[str, Any]:
    return {
        "default": {
            "days": rules.default.days,
            "reason": rules.default.reason,
            "changed_by": rules.default.changed_by,
            "changed_at": rules.default.changed_at,
        },
        "pipelines": [
            {
                "pipeline": name,
                "days": rules.days(name),
                "own": rule.own,
                "held": rule.held,
                "reason": rule.reason,
                "changed_by": rule.changed_by,
                "changed_at": rule.changed_at,
                "events": 0 if one is None else one.events,
                "oldest_at": None if one is None else one.oldest_at,
                "newest_at": None if one is None else one.newest_at,
                "goes_at": None if one is None else _next(rules, one),
            }
            for name, rule, one in _rows(rules, stored)
        ],
        "topics": [
            {"topic": each.topic, "retention_ms": each.retention_ms, "compacted": each.compacted}
            for each in topics
        ],
    }


def _show(rules: RetentionRules, stored: Sequence[Kept], topics: Sequence[TopicRetention]) -> None:
    say(f"Default: {_days(rules.default.days)}.")
    table = Table(
        [
            Column("pipeline"),
            Column("kept"),
            Column("events", right=True),
            Column("oldest (UTC)", 2),
            Column("oldest goes (UTC)"),
            Column("reason", 3, wrap="words"),
        ]
    )
    for name, rule, one in _rows(rules, stored):
        how = (
            "legal hold"
            if rule.held
            else _days(rule.days)
            if rule.own
            else f"{_days(rules.default.days)} (default)"
        )
        next_at = None if one is None else _next(rules, one)
        table.add(
            name,
            how,
            f"{0 if one is None else one.events:,}",
            "" if one is None else show_time(one.oldest_at),
            "" if next_at is None else next_at.strftime("%Y-%m-%d"),
            rule.reason,
        )
    if table.rows:
        show(table, first=True)
    for each in topics:
        say(f"Kafka keeps {each.topic} {_kept_by_kafka(each)}.")


def _kept_by_kafka(topic: TopicRetention) -> str:
    if topic.compacted:
        return "compacted: the latest record of each key"
    if topic.retention_ms is None:
        return "for ever"
    return f"for {topic.retention_ms / 86_400_000:g} days"


def _show_change(going: Sequence[Expired], removed: Sequence[Removed], *, yes: bool) -> None:
    if going:
        table = Table(
            [
                Column("table"),
                Column("pipeline"),
                Column("rows", right=True),
                Column("oldest (UTC)", 2),
                Column("newest (UTC)", 2),
            ],
            title="Removed" if yes else "Would go",
        )
        for each in going:
            table.add(
                each.table,
                each.pipeline,
                f"{each.rows:,}",
                show_time(each.oldest_at),
                show_time(each.newest_at),
            )
        show(table)
    rows = counted(sum(each.rows for each in going), "row")
    if not yes:
        say(f"{rows} would go.")
        return
    parts = sum(each.dropped_parts for each in removed)
    say(f"Done; {rows} gone, {counted(parts, 'whole part')} dropped.", style="green")


def _warn(rules: RetentionRules, topics: Sequence[TopicRetention]) -> None:
    """A rule that is shorter than Kafka's: what is gone could come back, and would go again."""
    days = [
        rules.default.days,
        *(rule.days for rule in rules.of_pipelines.values() if rule.own and not rule.held),
    ]
    least = min((each for each in days if each is not None), default=None)
    steps = next((each for each in topics if not each.compacted), None)
    if least is None or steps is None:
        return
    if steps.retention_ms is None or steps.retention_ms > least * 86_400_000:
        tell(
            "note:",
            "bold yellow",
            f"Kafka keeps {steps.topic} {_kept_by_kafka(steps)}, longer than the shortest rule here ({_days(least)}). "
            "A consumer that reads the topic anew stores old events again, until the rules are next applied. "
            "STEPTRAIL_RETENTION_MS and `steptrail topics --alter` shorten Kafka's.",
        )


def _days(days: int | None) -> str:
    return "for ever" if days is None else counted(days, "day")


def _usage(message: str) -> CommandError:
    return CommandError(message, exit_code=USAGE, kind="usage", hint="steptrail retention --help shows how.")


def register(app: typer.Typer) -> None:
    """Add `retention` and its commands."""
    group = typer.Typer(help=_HELP, invoke_without_command=True, rich_markup_mode=None)
    group.callback(help=_HELP)(show_retention)
    group.command("set")(set_)
    for command in (default, hold, release, apply):
        group.command()(command)
    app.add_typer(group, name="retention")
