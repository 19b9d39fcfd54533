"""`steptrail backup` and `steptrail restore`: the store's tables with what the ledger says of them, and the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.cli.commands.backup_answers import (
    Listed,
    backup_json,
    listed,
    restore_json,
    show_backup,
    show_backups,
    show_restore,
)
from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.options import (
    Json,
    StackDir,
    Yes,
    local_stack,
    note_dry_run,
    settings_for,
    spelled_out,
)
from steptrail.deploy.terminal.output import note, write_json, write_json_lines

if TYPE_CHECKING:
    from pathlib import Path

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.schemas.configuration.settings import Settings

_TELL_EVERY = 50
UNKNOWN_DATABASE = 81


def backup(
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="NAME|TARGET",
            help="A name on ClickHouse's disk `backups`, or its Disk(…), File(…), S3(…), AzureBlobStorage(…). "
            "Default: the time as a name.",
            show_default=False,
            callback=spelled_out,
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Show the backups that were made, the latest first.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Back the store up with ClickHouse's BACKUP, and the configuration of the topics, while everything goes on.

    Nothing waits for it. The backup holds how far each projection was when it began, so that `steptrail restore`
    catches up from Kafka without losing or doubling an event. What the topics hold is not in it.

    With --json one object: name, at, bytes, migration, requested_by, tables (rows by table); with --list one a line,
    without tables.

    \b
    steptrail backup
    steptrail backup --to before-the-move
    steptrail backup --to "S3('https://s3.example.com/bucket/monday', 'KEY', 'SECRET')"
    steptrail backup --list
    """
    from steptrail.consumers.backup.saved_topics import saved_topics
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.clickhouse.migrate import require_current
    from steptrail.projections.lifecycle.backing_up import create
    from steptrail.projections.lifecycle.backups import Target

    with _store(directory) as (settings, clickhouse):
        if list_:
            found = _listed(settings, clickhouse)
            if json:
                write_json_lines(each.as_json() for each in found)
            else:
                show_backups(found)
            return
        target = Target(to or datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ"))
        require_current(clickhouse)
        made = create(
            clickhouse,
            target,
            topics=saved_topics(settings),
            by=author().decided_by,
            tell=_telling("written"),
        )
        if json:
            write_json(backup_json(made))
        else:
            show_backup(made, _folder(settings, target.given) if target.named else None)


def restore(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|TARGET", help="The backup, as it was given to --to.", callback=spelled_out
        ),
    ],
    topics: Annotated[
        bool,
        typer.Option(
            "--topics", help="Create topics of the backup that are missing; show how the others differ."
        ),
    ] = False,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Restore an empty store from a backup; consumers then catch up from Kafka, and nothing is lost or stored twice.

    Without --yes it shows what is in the backup, what will be read again from Kafka, and what is gone from there.
    Consumers must be stopped. A store that is not empty is refused. A restore that was cut off begins anew with the
    same command. An older backup is migrated afterwards.

    With --json one object: name, at, bytes, migration, requested_by, tables (rows by table), dry_run, in_the_way (rows
    by table of the store), running (consumer groups with members), catch_up (projection, topic, partition, next,
    first, end, gone, left, other_topic), topics (topic, outcome, differences).

    \b
    steptrail restore before-the-move
    steptrail restore before-the-move --topics --yes
    """
    from steptrail.consumers.backup.catching_up import catch_up, running, still_running
    from steptrail.consumers.backup.saved_topics import restore_topics
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.lifecycle import restoring
    from steptrail.projections.lifecycle.backups import BackupRefused, Target

    with _store(directory) as (settings, clickhouse):
        target = Target(name)
        found = restoring.look(clickhouse, target)
        if yes:
            found.require()
        changes = restore_topics(settings, found.backup.topics, create=yes) if topics else []
        again, ends = catch_up(settings, found.backup.positions)
        members = still_running(settings, _waiting) if yes else running(settings)
        if yes and members:
            raise BackupRefused(
                f"consumers run: {', '.join(members)}. Nothing was changed.",
                "stop them first (on a local stack: `steptrail down`, then `steptrail up --detach --no-projector`).",
            )
        if yes:
            restoring.restore(
                clickhouse, target, found, ends=ends, by=author().decided_by, tell=_telling("restored")
            )
        else:
            note_dry_run()
        if json:
            write_json(restore_json(found, again, members, changes, dry_run=not yes))
        else:
            show_restore(found, again, members, changes, dry_run=not yes)


def _listed(settings: Settings, clickhouse: ClickHouse) -> list[Listed]:
    """Those that the store knows of, and those of the local stack that a store before it made."""
    from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch
    from steptrail.projections.lifecycle.backups import BackupState, backups

    try:
        found = [listed(each) for each in backups(clickhouse) if each.state is BackupState.CREATED]
    except SchemaMismatch:
        found = []  # of a store that was lost
    except QueryError as error:
        if error.code != UNKNOWN_DATABASE:
            raise
        found = []
    folder = _folder(settings, "")
    if folder is not None and folder.is_dir():
        known = {each.name for each in found}
        found += [
            Listed(whole.parent.name, datetime.fromtimestamp(whole.stat().st_mtime, timezone.utc))
            for whole in sorted(folder.glob("*/.backup"))
            if whole.parent.name not in known
        ]
    return found


def _folder(settings: Settings, name: str) -> Path | None:
    stack = local_stack(settings)
    return None if stack is None else stack.dir / "backups" / name


@contextmanager
def _store(directory: Path | None) -> Iterator[tuple[Settings, ClickHouse]]:
    """The settings and the store, with refusals as errors of the command."""
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.lifecycle.backups import BackupRefused

    settings = settings_for(directory)
    if settings.clickhouse_layout != "single":
        raise CommandError(
            f"a cluster cannot be backed up or restored by this command yet, and STEPTRAIL_CLICKHOUSE_LAYOUT is "
            f"{settings.clickhouse_layout}: shards would be of different moments.",
            exit_code=USAGE,
            kind="layout",
            hint="a store on a single server can (docs/cluster.md).",
        )
    try:
        with connect(settings) as clickhouse:
            yield settings, clickhouse
    except BackupRefused as error:
        raise CommandError(str(error), exit_code=NO, kind="backup_refused", hint=error.hint) from None


def _waiting(groups: list[str]) -> None:
    note(f"Waiting for members to leave {', '.join(groups)}.")


def _telling(what: str) -> Callable[[int], None]:
    """Says on standard error every ten seconds how far it is."""
    turns = 0

    def tell(done: int) -> None:
        nonlocal turns
        turns += 1
        if turns % _TELL_EVERY == 0:
            note(f"{done / 1e6:,.1f} MB {what} so far.")

    return tell


def register(app: typer.Typer) -> None:
    """Add `backup` and `restore`."""
    app.command()(backup)
    app.command()(restore)
