"""`steptrail dlq …`: messages that are no events, and what to do about them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.cli.commands.dlq.options import (
    DryRun,
    Offsets,
    Partition,
    Pipelines,
    Places,
    Reasons,
    Since,
    States,
    Until,
    author,
    is_dry_run,
    note_absent,
    selection_of,
)
from steptrail.deploy.cli.commands.dlq.redrive import redrive
from steptrail.deploy.cli.commands.dlq.show import show_letter
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import DEFAULT_EVERY, Every, Listing, Question, Watch, answer
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json
from steptrail.deploy.terminal.times import show_time

if TYPE_CHECKING:
    from steptrail.consumers.dlq.service import DeadLetterService
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.stores.dead_letter_store import StoredLetter

_HELP = """
Messages that are no events: look at them, send them again, or drop them.

What cannot be projected is set aside in the dead-letter topic with its reason, and listed in the table
dead_letters. Letters are named by the place of the message in the steps topic, PARTITION:OFFSET.

\b
steptrail dlq list                         what was set aside, and why
steptrail dlq show 3:1734                  one message taken apart, with the byte that failed
steptrail dlq redrive                      what would be sent again; --yes sends it
steptrail dlq drop --reason BAD_FRAME      what would be marked as dealt with; --yes marks it
"""


def list_letters(
    places: Places = None,
    reason: Reasons = None,
    pipeline: Pipelines = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offsets = None,
    state: States = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most so many letters.")] = 100,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List dead letters, newest first: position, reason and document.

    With --json one object a line; after them, on standard error, one object: rows, letters (how many in all),
    by_reason, not_in_table_yet, as_of, behind_seconds, behind_events. Exits 3 when the tables are further behind than
    --max-behind.

    \b
    steptrail dlq list
    steptrail dlq list --reason BAD_JSON --since 1d --json
    steptrail dlq list --state all --partition 3 --offset 1000-2000
    """
    from steptrail.consumers.dlq.service import DeadLetterService

    chosen = (places, reason, pipeline, since, until, partition, offset, state)
    selection_of(*chosen)
    settings = settings_for(directory)

    def ask(_: ClickHouse, __: AsOf) -> Listing:
        selection = selection_of(*chosen)  # anew, for ages are counted from now
        counts = service.store.count(selection)
        letters = service.store.letters(selection, limit=limit, newest_first=True)
        unstored, why = _unstored(service)
        about = {"letters": sum(counts.values()), "by_reason": counts, "not_in_table_yet": unstored}
        draw = partial(_draw, letters, counts, everything=selection.is_everything, unstored=unstored, why=why)
        return Listing([letter.as_dict() for letter in letters], draw, about)

    with DeadLetterService(settings) as service:
        question = Question(ask, ("topic_id", "place"))
        answer(settings, question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw(
    letters: list[StoredLetter], counts: dict[str, int], *, everything: bool, unstored: int | None, why: str
) -> None:
    if letters:
        _show(letters)
    else:
        say("No open letters." if everything else "No such letters.")
    _show_counts(counts, len(letters))
    if why:
        note(f"Whether the table has them all is not known: {why}")
    elif unstored:
        said = counted(
            unstored, "message of the dead-letter topic is", "messages of the dead-letter topic are"
        )
        note(f"{said} not in the table yet: does a projector run?")


def drop(
    places: Places = None,
    reason: Reasons = None,
    pipeline: Pipelines = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offsets = None,
    state: States = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters.")] = False,
    why: Annotated[str, typer.Option("--note", help="Why, for whoever looks later.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Mark dead letters as dealt with; nothing more is done about them.

    Kafka cannot delete single messages: the letter stays in its topic until its retention ends, and the table
    dead_letter_decisions says who dropped it, when and why. A letter that was dropped by mistake can be sent
    again: steptrail dlq redrive --state dropped. It only counts the letters until it is given --yes. With --json one
    object: dry_run, matched, dropped, by_reason, run (null in a dry run).

    \b
    steptrail dlq drop --reason BAD_FRAME --until 2026-05-04
    steptrail dlq drop 3:1734 --note "a test of ours" --yes
    """
    from steptrail.consumers.dlq.service import DeadLetterService

    selection = selection_of(places, reason, pipeline, since, until, partition, offset, state)
    if selection.is_everything and not everything:
        raise CommandError(
            "nothing selects which letters.",
            exit_code=USAGE,
            kind="usage",
            hint="give places, a --reason or another filter, or --all.",
        )
    who, dry_run = author(why), is_dry_run(dry_run, yes)
    with DeadLetterService(settings_for(directory)) as service:
        before = service.store.count(selection)
        matched = sum(before.values())
        dropped = 0 if dry_run or not matched else service.store.drop(selection, who)
    note_absent(selection, matched)
    if json:
        told = {"dry_run": dry_run, "matched": matched, "dropped": dropped, "by_reason": before}
        write_json({**told, "run": None if dry_run else who.run})
        return
    done = "would be dropped" if dry_run else "dropped"
    say(f"{counted(matched if dry_run else dropped, 'letter')} {done}.")
    _show_counts(before, matched)
    if dry_run:
        note_dry_run()


def _show(letters: list[StoredLetter]) -> None:
    columns = [
        Column("place", right=True),
        Column("set aside", 3),
        Column("reason"),
        Column("field", 4),
        Column("byte", 5, right=True),
        Column("pipeline", 3),
        Column("document", 2),
        Column("state", 2),
    ]
    table = Table(columns)
    for letter in letters:
        again = f" (sent {letter.times_resent} x)" if letter.times_resent else ""
        table.add(
            letter.shown_place,
            show_time(letter.broker_time),
            letter.reason,
            letter.field,
            letter.position,
            letter.pipeline,
            letter.doc_id,
            letter.state.lower() + again,
        )
    show(table)


def _show_counts(counts: dict[str, int], shown: int) -> None:
    total = sum(counts.values())
    if counts:
        by_reason = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        more = f", the newest {shown} shown" if shown < total else ""
        note(f"{counted(total, 'letter')}{more}: {by_reason}")


def _unstored(service: DeadLetterService) -> tuple[int | None, str]:
    """How many letters are in Kafka and not in the table yet; None if unknown, and why."""
    from steptrail.schemas.errors import InfrastructureError

    try:
        return service.not_stored_yet(), ""
    except InfrastructureError as error:
        return None, str(error)


def register(app: typer.Typer) -> None:
    """Add `dlq` and its commands."""
    group = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_letters)
    group.command("show")(show_letter)
    group.command("redrive")(redrive)
    group.command("drop")(drop)
    app.add_typer(group, name="dlq")
