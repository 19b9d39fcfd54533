"""What `steptrail rebuild` and its commands answer, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.output import Column, Table, say, show
from steptrail.deploy.terminal.times import show_duration, show_time

if TYPE_CHECKING:
    from steptrail.consumers.rebuild.rebuilding import Plan, RebuildProgress
    from steptrail.projections.lifecycle.rebuild_diff import Diff
    from steptrail.projections.lifecycle.rebuilds import Rebuild


def as_json(found: RebuildProgress | None) -> dict[str, Any]:
    """How far a rebuild is; all null or empty without one."""
    if found is None:
        empty = ("rebuild", "state", "side", "since", "at", "requested_by", "per_second", "seconds_left")
        return {**dict.fromkeys(empty), "pipelines": [], "partitions": [], "left": 0}
    rebuild = found.rebuild
    return {
        "rebuild": str(rebuild.rebuild),
        "state": rebuild.state.value,
        "side": found.side.value,
        "since": rebuild.since,
        "at": rebuild.at,
        "requested_by": rebuild.requested_by,
        "per_second": found.per_second,
        "seconds_left": found.seconds_left,
        "pipelines": list(rebuild.pipelines),
        "partitions": [_fields(each) for each in found.partitions],
        "left": found.left,
    }


def planned(plan: Plan) -> dict[str, int]:
    """What a rebuild would do."""
    names = ("reads", "copies", "expired", "live_bytes")
    return {name: getattr(plan, name) for name in names}


def diff_json(found: Diff) -> dict[str, Any]:
    """How live tables and others differ."""
    return {
        "events": found.events,
        "differences": [_fields(each) for each in found.differences],
        "examples": [_fields(each) for each in found.examples],
    }


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


_STATES = {
    "STARTED": "new tables beside the live ones are being filled",
    "COPIED": "new tables beside the live ones are being filled",
    "FILLED": "the new tables have caught up: compare them with diff, make them live with exchange",
    "EXCHANGING": "an exchange is under way, and projectors wait: exchange goes on with it",
    "EXCHANGED": "the new tables are live, the old ones are kept: back returns to them, drop drops them",
    "RETURNING": "the way back is under way, and projectors wait: back goes on with it",
    "RETURNED": "the old tables are live again, the new ones are kept: exchange makes them live, drop drops them",
}


def show_progress(found: RebuildProgress | None) -> None:
    """How far a rebuild is, in words and by partition."""
    if found is None:
        say("There is no rebuild; the live tables are all there is.")
        return
    rebuild = found.rebuild
    say(f"Rebuild {rebuild.short} by {rebuild.requested_by}: {_STATES[rebuild.state.value]}.")
    _say_what(rebuild)
    table = Table(
        [
            Column("partition", right=True),
            Column("read from", right=True),
            Column("read to", right=True),
            Column("live to", right=True),
            Column("end", right=True),
        ]
    )
    for each in found.partitions:
        table.add(*(f"{getattr(each, name):,}" for name in each.__slots__))
    show(table, first=True)
    left = "" if found.seconds_left is None else f", {show_duration(found.seconds_left * 1000)} at this rate"
    rate = "" if found.per_second is None else f"; {found.per_second:,.0f} a second{left}"
    say(f"{counted(found.left, 'offset')} left{rate}.")


def _say_what(rebuild: Rebuild) -> None:
    if rebuild.pipelines or rebuild.since:
        of = f"of {', '.join(rebuild.pipelines)} " if rebuild.pipelines else ""
        since = f"since {show_time(rebuild.since)} UTC" if rebuild.since else ""
        say(f"Only {of}{since}".rstrip() + "; all else is copied from the live tables as it is.")


def show_plan(plan: Plan) -> None:
    """What a rebuild would do, in words."""
    say(f"It would read {counted(plan.reads, 'record')} of {plan.rebuild.topic}.")
    _say_what(plan.rebuild)
    if plan.copies:
        say(f"It would copy {counted(plan.copies, 'row')} from the live tables as they are.")
    if plan.expired:
        say(
            f"{counted(plan.expired, 'offset')} have expired from the topic; "
            "what the live tables have of them is copied.",
            style="yellow",
        )
    say(
        f"The live tables take {plan.live_bytes / 1e6:,.1f} MB on disk; the new ones need about as much besides."
    )


def show_diff(found: Diff, other: str) -> None:
    """How the live tables and the `other` ones, new or old, differ."""
    if not found.differences:
        say(
            f"The {other} tables and the live ones hold the same {counted(found.events, 'event')}.",
            style="green",
        )
        return
    columns = ("day (UTC)", "pipeline", "status", "live", other, "only live", f"only {other}", "changed")
    table = Table([Column(name, right=number > 2) for number, name in enumerate(columns)])
    for each in found.differences:
        table.add(*(f"{value:,}" if isinstance(value, int) else value for value in _fields(each).values()))
    show(table, first=True)
    examples = Table(
        [Column("document", 2), Column("step"), Column("status"), Column("why", 3, wrap="words")]
    )
    for one in found.examples:
        examples.add(
            one.doc_id, one.step_name, one.status, one.reason.replace("the other table", f"the {other} table")
        )
    show(examples)
