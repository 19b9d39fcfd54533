"""Messages on the topic that are no events."""

from __future__ import annotations

from typing import Any

from faults import topic
from faults.poisoning import KINDS, is_poison
from faults.row import Outcome, Run
from faults.workspace import Workspace

_CONNECT = "__connect.errors."
_SLOWEST = 0.5


def mixed_in(run: Run) -> Outcome:
    """One in a hundred, of every kind: the good ones projected, the bad ones set aside, at half the speed or more."""
    count = run.pick(20_000, 300_000)
    speeds = {}
    outcome = Outcome(0, detail={"kinds": len(KINDS)})
    for poison in (0, count // 100):
        with run.workspace() as (workspace, load):
            for number in range(2):
                load.start(f"w{number}", rate=0, count=count // 2, settings={"queue_max_messages": 400_000})
            if poison:
                load.program("faults.poisoning", count=poison, rate=poison / (count / 25_000))
            load.join(300)
            workspace.projector(batch=count // 10)
            run.judged(workspace, load, outcome, is_poison=is_poison)
            speeds["poisoned" if poison else "clean"] = _speed(workspace)
            if poison:
                outcome.injected = poison
                _compare_dead_letters(workspace, outcome, poison)
    ratio = speeds["poisoned"] / speeds["clean"]
    outcome.detail.update(events_per_s=speeds, ratio=round(ratio, 2))
    outcome.ask(run.quick or ratio >= _SLOWEST, f"with poison it is {ratio:.2f} times as fast as without")
    return outcome


def _speed(workspace: Workspace) -> int:
    """Events a second from the end of the first batch to the end of the last."""
    sql = (
        "SELECT at, sum(rows) FROM projection_ledger WHERE projection_name = 'steps' GROUP BY at ORDER BY at"
    )
    batches = workspace.store.query(sql)
    seconds = (batches[-1][0] - batches[0][0]).total_seconds()
    return int(sum(rows for _, rows in batches[1:]) // max(seconds, 0.001))


def _compare_dead_letters(workspace: Workspace, outcome: Outcome, count: int) -> None:
    """Each bad message is in the dead-letter topic with its bytes and its place, and nothing else is."""
    bad: dict[Any, Any] = {}
    for partition, piece in topic.read(workspace.settings, workspace.topic):
        bad.update({(partition, m.offset()): (m.key(), m.value()) for m in piece if is_poison(m)})
    letters: dict[Any, Any] = {}
    reasons: dict[str, int] = {}
    twice = 0
    for _, piece in topic.read(workspace.settings, workspace.topics.dlq.name):
        for message in piece:
            pairs = message.headers() or []
            headers = {
                name: value.decode() if isinstance(value, bytes) else value for name, value in list(pairs)
            }
            place = (int(headers[f"{_CONNECT}partition"] or -1), int(headers[f"{_CONNECT}offset"] or -1))
            twice += place in letters
            letters[place] = (message.key(), message.value())
            reason = str(headers["steptrail.reason"])
            reasons[reason] = reasons.get(reason, 0) + 1
    outcome.ask(not twice, f"{twice} letters were sent twice")
    outcome.detail["dead_letters"] = dict(sorted(reasons.items()))
    outcome.ask(len(bad) == count, f"{len(bad)} of {count} bad messages are on the topic")
    outcome.ask(
        not bad.keys() - letters.keys(), f"{len(bad.keys() - letters.keys())} bad messages were not set aside"
    )
    outcome.ask(
        not letters.keys() - bad.keys(), f"{len(letters.keys() - bad.keys())} good messages were set aside"
    )
    changed = sum(1 for place in bad.keys() & letters.keys() if bad[place] != letters[place])
    outcome.ask(not changed, f"{changed} letters have other bytes than the message")
