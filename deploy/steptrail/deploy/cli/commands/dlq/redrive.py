"""`steptrail dlq redrive`: send dead letters again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

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
from steptrail.deploy.terminal.failures import NO
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import note, say, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from steptrail.consumers.dlq.redrive import Tally
    from steptrail.projections.stores.dead_letter_store import Outcome

_PROGRESS_EVERY_S = 2.0
_WHY = {
    "still_bad": "would only come back: no event by this version either (--force sends them all the same)",
    "loop_cap": "were sent again as often as --max-resent allows",
    "gone": "are not in the dead-letter topic any more",
    "refused_by_broker": "are refused by Kafka: too large",
}


def redrive(
    places: Places = None,
    reason: Reasons = None,
    pipeline: Pipelines = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    offset: Offsets = None,
    state: States = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    force: Annotated[
        bool, typer.Option("--force", help="Send also what this version cannot read, and will come back.")
    ] = False,
    rate: Annotated[
        float, typer.Option("--rate", min=0, help="Letters a second, at most; 0: as fast as it goes.")
    ] = 500.0,
    max_resent: Annotated[
        int, typer.Option("--max-resent", min=1, help="Leave letters alone that were sent again so often.")
    ] = 3,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="Look at so many letters, at most.", show_default=False),
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, help="Seconds to wait until the tables show the outcome."),
    ] = 60.0,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Send open dead letters again to the steps topic, after an upgrade for instance, or once a schema is known.

    Each event arrives once, however often this runs and whatever is killed: the messages carry a header by which
    the projector takes only those whose event is not there yet. What was sent is written down in
    dead_letter_decisions as it goes; run the command again after an interruption, and it goes on from there.
    It only says what it would send, and what not and why, until it is given --yes.

    With --json one object: dry_run, matched, sent, would_send, skipped by why, open_before and open_after, and, once
    the tables have caught up, arrived, there_already and died_again (null before). Exits 1 when letters died again.

    \b
    steptrail dlq redrive
    steptrail dlq redrive --reason UNKNOWN_SCHEMA --rate 100 --yes
    steptrail dlq redrive 3:1734 --force --yes
    """
    from steptrail.consumers.dlq.redrive import Terms
    from steptrail.consumers.dlq.service import DeadLetterService
    from steptrail.projections.stores.dead_letter_store import Selection

    dry_run = is_dry_run(dry_run, yes)
    selection = selection_of(places, reason, pipeline, since, until, partition, offset, state)
    terms = Terms(rate=rate, max_resent=max_resent, force=force, dry_run=dry_run, limit=limit)
    who = author()
    with DeadLetterService(settings_for(directory)) as service:
        open_before = sum(service.store.count(Selection()).values())
        tally = service.redrive(
            selection, who, terms, _progress(sum(service.store.count(selection).values()))
        )
        outcome = None
        if tally.sent and not dry_run:
            outcome = service.outcome(who.run, tally.sent_up_to, timeout=wait)
        open_after = sum(service.store.count(Selection()).values())
    note_absent(selection, tally.matched)
    if json:
        told = _as_json(tally, outcome, dry_run=dry_run)
        write_json({**told, "open_before": open_before, "open_after": open_after, "run": who.run})
    else:
        _show(tally, outcome, dry_run=dry_run)
        say(f"Open letters: {open_before} before, {open_after} now.")
        if dry_run:
            note_dry_run()
    if outcome is not None and outcome.died_again:
        raise typer.Exit(NO)


def _progress(total: int) -> Callable[[Tally], None]:
    """Says how far it is, every now and then, on standard error."""
    told_at = time.monotonic()

    def tell(tally: Tally) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _PROGRESS_EVERY_S:
            told_at = time.monotonic()
            note(
                f"{tally.done:,} of {counted(total, 'letter')}: {tally.sent} sent, {tally.skipped.total()} left alone"
            )

    return tell


def _as_json(tally: Tally, outcome: Outcome | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "matched": tally.matched,
        "sent": 0 if dry_run else tally.sent,
        "would_send": tally.sent if dry_run else None,
        "skipped": dict(tally.skipped),
        "arrived": None if outcome is None else outcome.arrived,
        "there_already": None if outcome is None else outcome.there_already,
        "died_again": None if outcome is None else outcome.died_again,
    }


def _show(tally: Tally, outcome: Outcome | None, *, dry_run: bool) -> None:
    say(f"{counted(tally.matched, 'letter')}: {tally.sent} {'would be sent' if dry_run else 'sent'} again.")
    for why, count in tally.skipped.items():
        say(f"  {count} {_WHY[why]}")
    if outcome is not None:
        say(
            f"Of those sent, {outcome.arrived} arrived, {outcome.there_already} were there already, "
            f"{outcome.died_again} are dead letters again."
        )
    elif tally.sent and not dry_run:
        say("The tables have not caught up yet: `steptrail lag` says how far they are.", style="yellow")
