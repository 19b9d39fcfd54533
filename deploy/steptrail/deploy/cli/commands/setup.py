"""`steptrail migrate` and `steptrail topics`: bring the store and the broker to what this program needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from steptrail.deploy.terminal.failures import NO
from steptrail.deploy.terminal.options import Json, StackDir, local_stack, settings_for
from steptrail.deploy.terminal.output import Column, Table, say, show, write_json_lines
from steptrail.deploy.terminal.times import show_time


def migrate(
    print_: Annotated[
        bool, typer.Option("--print", help="Print the SQL for each database instead, asking nobody.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Create ClickHouse's tables, or bring them up to date.

    What is created where is a matter of STEPTRAIL_CLICKHOUSE_LAYOUT. Safe to run twice, and from two processes at once.
    Shows every migration and which of them were applied now; with --json one object a line: database, version, name,
    applied_at, applied_now. With --print --json: database, sql.

    \b
    steptrail migrate
    steptrail migrate --print
    """
    from steptrail.projections.cluster.databases import databases, migrate_all, statements
    from steptrail.projections.cluster.preflight import require_fit

    settings = settings_for(directory)
    if print_:
        _print(((each.place, each.is_what, statements(each)) for each in databases(settings)), json)
        return
    require_fit(settings)
    done = migrate_all(settings)
    if json:
        write_json_lines(
            {"database": database.place, **asdict(state), "applied_now": state.version in now}
            for database, applied, states in done
            for now in [{migration.version for migration in applied}]
            for state in states
        )
        return
    for number, (database, applied, states) in enumerate(done):
        now = {migration.version for migration in applied}
        title = f"Database {database.target.database}"
        if len(done) > 1:
            title += f", {database.is_what}, {database.target.host}:{database.target.port}"
        columns = [Column("migration"), Column("applied (UTC)"), Column("when", 2)]
        table = Table(columns, title=title)
        for state in states:
            name = f"{state.version:04d}_{state.name}"
            table.add(name, _shown(state.applied_at), "now" if state.version in now else "before")
        show(table, first=not number)


def _print(databases: Iterable[tuple[str, str, Iterable[str]]], json: bool) -> None:
    for place, is_what, statements in databases:
        if json:
            write_json_lines({"database": place, "sql": sql} for sql in statements)
            continue
        say(f"-- {is_what}: {place}", folded=False)
        for sql in statements:
            for line in f"{sql};".split("\n"):
                say(line, folded=False)
        say("")


def _shown(applied_at: str | None) -> str:
    return "" if applied_at is None else show_time(datetime.fromisoformat(applied_at.replace("Z", "+00:00")))


def topics(
    alter: Annotated[
        bool, typer.Option("--alter", help="Set the configs that differ, instead of only showing them.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Create Kafka's topics, and show where the ones that are there differ from what is needed.

    Also publishes the schema of this version's events, so that older projectors can read them: run it before newer
    producers start. Safe to run twice. Partitions are never changed, since that would break the order of documents'
    events. How long events are kept is STEPTRAIL_RETENTION_MS. Exits 1 when a difference is left. With --json one
    object a line: topic, outcome (created, unchanged, altered, drifted), differences.

    \b
    steptrail topics
    steptrail topics --alter
    """
    from steptrail.schemas.topics import ensure_topics
    from steptrail.schemas.wire.schema_topic import publish_schema

    settings = settings_for(directory)
    if local_stack(settings) is not None and "STEPTRAIL_RETENTION_MS" not in os.environ:
        # A local stack keeps everything by default.
        settings = settings.with_values(retention_ms=-1, dlq_retention_ms=-1)
    changes = ensure_topics(settings, alter=alter, timeout=10)
    publish_schema(settings)
    if json:
        write_json_lines(asdict(change) for change in changes)
    else:
        table = Table([Column("topic"), Column("outcome"), Column("differences", 2, wrap="words")])
        for change in changes:
            differences = "; ".join(
                f"{each.name} is {each.is_now or 'unset'}, wanted {each.wanted}"
                for each in change.differences
            )
            table.add(change.topic, change.outcome, differences)
        show(table)
    if any(change.outcome == "drifted" for change in changes):
        raise typer.Exit(NO)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(topics)
    app.command()(migrate)
