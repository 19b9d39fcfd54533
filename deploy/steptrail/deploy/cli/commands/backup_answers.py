"""What `steptrail backup` and `steptrail restore` answer, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.output import Column, Table, say, show
from steptrail.deploy.terminal.times import show_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from steptrail.consumers.backup.catching_up import CatchUp
    from steptrail.projections.lifecycle.backups import Backup
    from steptrail.projections.lifecycle.restoring import Restorable
    from steptrail.schemas.topics import TopicChange


@dataclass(frozen=True, slots=True)
class Listed:
    """A backup in the list; of one that a store before this one made, only its name and time are known."""

    name: str
    at: datetime | None
    bytes: int | None = None
    migration: int | None = None
    requested_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def listed(backup: Backup) -> Listed:
    """A backup as the list has it."""
    return Listed(backup.name, backup.at, backup.bytes, backup.migration, backup.requested_by)


def backup_json(backup: Backup) -> dict[str, Any]:
    """A backup for programs."""
    return {**listed(backup).as_json(), "tables": dict(backup.tables)}


def restore_json(
    found: Restorable,
    again: Sequence[CatchUp],
    running: Sequence[str],
    topics: Sequence[TopicChange],
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """A restore for programs."""
    return {
        **backup_json(found.backup),
        "dry_run": dry_run,
        "in_the_way": dict(found.rows) if dry_run else {},
        "running": list(running),
        "catch_up": [asdict(each) for each in again],
        "topics": [asdict(each) for each in topics],
    }


def show_backup(backup: Backup, folder: Path | None) -> None:
    """What was backed up, and how it is restored."""
    say(
        f"Backed up {counted(backup.tables.get('steps', 0), 'event')} and everything made of them as {backup.name}: "
        f"{_size(backup.bytes)} of tables."
    )
    if folder is not None:
        say(f"It is in {folder}; copy it to another machine.")
    say("Erasures after this moment are not in it: erase again after restoring it.")


def show_backups(found: Sequence[Listed]) -> None:
    """The list, for people."""
    if not found:
        say("No backup was made.")
        return
    table = Table(
        [
            Column("backup", 3),
            Column("made (UTC)", 2),
            Column("tables", right=True),
            Column("migration", right=True),
            Column("by", 4),
        ]
    )
    for each in found:
        table.add(
            each.name,
            "" if each.at is None else show_time(each.at),
            "" if each.bytes is None else _size(each.bytes),
            "" if each.migration is None else f"{each.migration:04d}",
            each.requested_by,
        )
    show(table, first=True)


def show_restore(
    found: Restorable,
    again: Sequence[CatchUp],
    running: Sequence[str],
    topics: Sequence[TopicChange],
    *,
    dry_run: bool,
) -> None:
    """What is, or would be, restored and read again, and what is in the way."""
    backup = found.backup
    made = "" if backup.at is None else f" of {show_time(backup.at)} UTC"
    say(
        f"{'It would restore' if dry_run else 'Restored'} backup {backup.name}{made} by {backup.requested_by}."
    )
    table = Table([Column("table"), Column("rows", right=True)])
    for name, rows in backup.tables.items():
        if rows:
            table.add(name, f"{rows:,}")
    show(table)
    _show_catch_up(again)
    for topic in topics:
        _show_topic(topic, dry_run=dry_run)
    say("Documents that were erased after the backup come back: erase them again before consumers start.")
    if dry_run and found.rows:
        most = ", ".join(f"{table} {rows:,}" for table, rows in sorted(found.rows.items())[:4])
        say(f"It would be refused: the store is not empty ({most} rows).", style="yellow")
    if dry_run and running:
        say(f"It would be refused while consumers run: {', '.join(running)}.", style="yellow")


def _show_catch_up(again: Sequence[CatchUp]) -> None:
    columns = ("projection", "partition", "next", "first", "end", "to read")
    table = Table([Column(name, right=number > 0) for number, name in enumerate(columns)])
    for each in again:
        if each.left or each.gone:
            figures = (each.partition, each.next, each.first, each.end, each.left)
            table.add(each.projection, *(f"{figure:,}" for figure in figures))
    if table.rows:
        show(table)
    say(f"{counted(sum(each.left for each in again), 'offset')} are to be read again from Kafka.")
    for each in again:
        if each.other_topic:
            say(
                f"{each.projection} {each.partition}: topic {each.topic} was made anew since the backup, or cut: "
                "its offsets are others, and the consumer will ask for --accept-topic.",
                style="red",
            )
        elif each.gone:
            say(
                f"{each.projection} {each.partition}: {counted(each.gone, 'offset')}, {each.next} to {each.first - 1}, "
                f"are gone from {each.topic}: neither the backup nor Kafka has them.",
                style="red",
            )


def _show_topic(change: TopicChange, *, dry_run: bool) -> None:
    if change.outcome == "created":
        say(f"Topic {change.topic} {'is missing and would be created' if dry_run else 'was created'}.")
    for each in change.differences:
        say(
            f"Topic {change.topic}: {each.name} is {each.is_now}, in the backup {each.wanted}.",
            style="yellow",
        )


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
