"""What people decide: about error groups, silences and dead letters; each is written down with who did it."""

from __future__ import annotations

import logging
import secrets
import time

from steptrail.consumers.alerts.overview import new_silence
from steptrail.consumers.dlq.redrive import Terms
from steptrail.consumers.dlq.service import DeadLetterService
from steptrail.consumers.web.access.tokens import Principal
from steptrail.consumers.web.board import BoardKeeper
from steptrail.consumers.web.models import actions, operations
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.service.operations import group_details, letter_store, silence_row
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.stores.dead_letter_store import Author, Selection
from steptrail.projections.stores.error_groups import Action, act, error_group
from steptrail.schemas.configuration.settings import Settings

_log = logging.getLogger("steptrail.consumers.web")


def act_on_group(
    clickhouse: ClickHouse, group_id: str, action: Action, body: actions.GroupAction, who: Principal
) -> operations.GroupAnswer:
    """Resolve, mute or reopen a group. Raises UnknownGroup, and ProblemError (404) for one that may not be seen."""
    group_details(error_group(clickhouse, group_id), who.pipelines)
    details = act(clickhouse, group_id, action, by=who.name, reason=body.reason.strip())
    _changed(who, "error group", action.lower(), group_id=details.group.group_id)
    return group_details(details, who.pipelines)


def silence(board: BoardKeeper, body: actions.NewSilence, who: Principal) -> operations.SilenceAnswer:
    """Tell nobody of some alerts for a while. Raises ProblemError, BrokerUnavailable, TopicMissing."""
    if (body.pipeline, body.step_name, body.kind) == ("*", "*", "*") and not body.everything:
        raise ProblemError(
            400,
            "bad_request",
            "silence what? Name a pipeline, a step_name or a kind, or say everything: true",
        )
    if who.pipelines is not None and body.pipeline not in who.pipelines:
        raise ProblemError(403, "not_allowed", f"{who.name} may silence {', '.join(who.pipelines)} alone")
    made = new_silence(
        pipeline=body.pipeline,
        step=body.step_name,
        kind=body.kind,
        now=time.time(),
        seconds=body.for_seconds,
        reason=body.reason,
        by=who.name,
    )
    board.put(made)
    _changed(who, "silence", "made", silence=made.id)
    return operations.SilenceAnswer(silence=silence_row(made))


def expire(board: BoardKeeper, silence_id: str, who: Principal) -> operations.SilenceAnswer:
    """End a silence now. Raises ProblemError (404), BrokerUnavailable, TopicMissing."""
    found = board.current().silences.get(silence_id)
    if found is None or (who.pipelines is not None and found.pipeline not in who.pipelines):
        raise ProblemError(404, "not_found", f"there is no silence {silence_id[:100]!r}")
    ended = found.expired(time.time())
    board.put(ended)
    _changed(who, "silence", "expired", silence=ended.id)
    return operations.SilenceAnswer(silence=silence_row(ended))


def redrive(settings: Settings, body: actions.Redrive, who: Principal) -> actions.RedriveAnswer:
    """Send dead letters again, or say which could be. Raises what DeadLetterService does, and ProblemError."""
    selection = selection_of(body, who)
    author = _author(who, body.note)
    terms = Terms(
        rate=body.rate, max_resent=body.max_resent, force=body.force, dry_run=body.dry_run, limit=body.limit
    )
    with DeadLetterService(settings) as service:
        tally = service.redrive(selection, author, terms)
    if not body.dry_run:
        _changed(who, "dead letters", "redriven", run=author.run, sent=tally.sent, matched=tally.matched)
    return actions.RedriveAnswer(
        dry_run=body.dry_run,
        run=author.run,
        matched=tally.matched,
        sent=0 if body.dry_run else tally.sent,
        would_send=tally.sent if body.dry_run else None,
        skipped=dict(tally.skipped),
        done_by=who.name,
    )


def drop(
    clickhouse: ClickHouse, settings: Settings, body: actions.Drop, who: Principal
) -> actions.DropAnswer:
    """Write down that nothing more is to be done about dead letters, or say how many there are."""
    selection = selection_of(body, who)
    if selection.is_everything and not body.everything:
        raise ProblemError(
            400, "bad_request", "drop what? Name places, reasons, pipelines or times, or say everything: true"
        )
    store = letter_store(clickhouse, settings)
    author = _author(who, body.note)
    by_reason = store.count(selection)
    dropped = 0 if body.dry_run else store.drop(selection, author)
    if not body.dry_run:
        _changed(who, "dead letters", "dropped", run=author.run, dropped=dropped)
    return actions.DropAnswer(
        dry_run=body.dry_run,
        run=author.run,
        matched=sum(by_reason.values()),
        dropped=dropped,
        by_reason=by_reason,
        done_by=who.name,
    )


def selection_of(body: actions.LetterSelection, who: Principal) -> Selection:
    """Which letters are meant. Raises ProblemError (403) for those of pipelines that are not for `who`."""
    pipelines = tuple(body.pipelines)
    if who.pipelines is not None and (not pipelines or not set(pipelines) <= set(who.pipelines)):
        allowed = ", ".join(who.pipelines)
        raise ProblemError(403, "not_allowed", f"{who.name} may decide about {allowed} alone: name them")
    places = tuple(
        (int(partition), int(offset)) for partition, _, offset in (p.partition(":") for p in body.places)
    )
    if any(partition >= 2**31 or offset >= 2**63 for partition, offset in places):
        raise ProblemError(
            400, "bad_request", "a place is partition:offset, as `place` of a dead letter has it"
        )
    return Selection(
        reasons=tuple(body.reasons),
        pipelines=pipelines,
        since=body.since,
        until=body.until,
        places=places,
        states=tuple(body.states),
    )


def _author(who: Principal, note: str) -> Author:
    return Author(run=f"web-{secrets.token_hex(6)}", decided_by=who.name, note=note.strip())


def _changed(who: Principal, what: str, how: str, **more: object) -> None:
    """Beside what the tables and topics keep: one line in the log for each change."""
    _log.info("changed", extra={"what": what, "how": how, "by": who.name, **more})
