"""Writers that do not know that they are not the ones any more."""

from __future__ import annotations

import time

from faults.load import Load
from faults.row import Outcome, Run
from faults.workspace import Workspace
from faults.world import Process
from support.waiting import until

_SESSION_MS = 1500


def frozen(run: Run) -> Outcome:
    """A projector stops past its session, another takes its partitions, then the first goes on where it was.

    Stopped before its insert and woken when the other has written; woken while the other is writing the same;
    stopped while the store carries out its insert; and at no particular moment.
    """
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        load.start(rate=500)
        for _ in range(run.pick(1, 2)):
            for act in (_woken_late, _woken_amid_successor, _amid_statement, _at_any_moment):
                act(run, workspace, load, outcome)
                outcome.injected += 1
                name = act.__name__.strip("_")
                outcome.detail[name] = outcome.detail.get(name, 0) + 1
        load.stop()
        workspace.projector(batch=50_000)
        return run.judged(workspace, load, outcome)


def _woken_late(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> None:
    zombie = _stopped_before_insert(run, workspace)
    successor = workspace.projector(session_ms=_SESSION_MS)
    _wait_taken_over(workspace)
    zombie.wake()
    time.sleep(2.0)
    _end(outcome, zombie, successor)


def _woken_amid_successor(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> None:
    zombie = _stopped_before_insert(run, workspace)
    slow = {"do": "slow", "at": "steps", "nth": 1, "seconds": 2.5}
    successor = workspace.projector(slow, session_ms=_SESSION_MS, batch=20_000)
    until(workspace.slow_statements, "insert of the successor", pause=0.02)
    zombie.wake()
    time.sleep(3.0)
    _end(outcome, zombie, successor)


def _amid_statement(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> None:
    slow = {"do": "slow", "at": "steps", "nth": run.rng.randint(1, 3), "seconds": 5.0}
    successor = workspace.projector(session_ms=_SESSION_MS)
    workspace.wait_rows(workspace.rows())
    zombie = workspace.projector(slow, session_ms=_SESSION_MS)
    until(workspace.slow_statements, "insert of the one that is to be frozen", pause=0.02)
    claims = workspace.claims()
    zombie.freeze()
    until(lambda: workspace.claims() > claims, "claim of the successor")
    if workspace.slow_statements():
        outcome.detail["claimed_while_it_ran"] = outcome.detail.get("claimed_while_it_ran", 0) + 1
    until(lambda: not workspace.slow_statements(), "end of the statement")
    _wait_taken_over(workspace)
    zombie.wake()
    time.sleep(1.5)
    _end(outcome, zombie, successor)


def _at_any_moment(run: Run, workspace: Workspace, load: Load, outcome: Outcome) -> None:
    pair = [workspace.projector(session_ms=_SESSION_MS, batch=100) for _ in range(2)]
    workspace.wait_rows(workspace.rows())
    for _ in range(run.pick(2, 4)):
        zombie = run.rng.choice(pair)
        zombie.freeze()
        time.sleep(_SESSION_MS / 1000 + run.rng.uniform(0.5, 1.5))
        zombie.wake()
        time.sleep(run.rng.uniform(0.2, 1.0))
    _end(outcome, *pair)


def racing(run: Run) -> Outcome:
    """Two that never heard of a group claim every partition from each other, with slow statements and kills."""
    seconds = run.pick(14.0, 40.0)
    outcome = Outcome(0)

    def contender() -> Process:
        plan = [
            {"do": "slow", "at": at, "nth": run.rng.randint(1, 5), "seconds": run.rng.uniform(0.1, 0.8)}
            for at in ("steps", "steps", "ledger", "step_executions")
        ]
        return workspace.projector(*plan, self_assigned=True, batch=200)

    with run.workspace() as (workspace, load):
        load.start(rate=400)
        for _ in range(run.pick(1, 4)):
            _outdone_by_one_that_dies(run, workspace, outcome)
        contenders = [contender(), contender()]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(run.rng.uniform(0.8, 2.5))
            if run.rng.random() < 0.5:
                place = run.rng.randrange(2)
                contenders[place].kill()
                contenders[place] = contender()
                outcome.detail["killed"] = outcome.detail.get("killed", 0) + 1
        for each in contenders:
            outcome.ask(each.code is None, f"one ended with {each.code}: {each.said()[-300:]}")
            each.kill()
        load.stop()
        outcome.injected = workspace.claims()
        outcome.detail["lost_claims"] = _lost_claims(workspace)
        workspace.projector(batch=50_000)
        return run.judged(workspace, load, outcome)


def _outdone_by_one_that_dies(run: Run, workspace: Workspace, outcome: Outcome) -> None:
    """One is about to write, another claims and dies, the first goes on: it writes nothing, so it commits nothing.

    Were it to commit all the same, whoever comes next would read on behind what nobody has written.
    """
    stop = {"do": "stop", "at": "steps", "when": "before", "nth": run.rng.randint(2, 3)}
    first = workspace.projector(stop, self_assigned=True, batch=300)
    until(lambda: first.frozen, "stop before the insert")
    die = {"do": "kill", "at": "stage", "when": "before", "nth": 1}
    workspace.projector(die, self_assigned=True, batch=300).wait()
    first.wake()
    time.sleep(0.7)
    first.kill()
    before = workspace.high_water()
    following = workspace.projector(self_assigned=True, batch=300)
    until(lambda: workspace.high_water() != before, "next batch", pause=0.1)
    following.kill()
    outcome.detail["outdone"] = outcome.detail.get("outdone", 0) + 1


def _stopped_before_insert(run: Run, workspace: Workspace) -> Process:
    stop = {"do": "stop", "at": "steps", "when": "before", "nth": run.rng.randint(1, 3)}
    zombie = workspace.projector(stop, session_ms=_SESSION_MS)
    until(lambda: zombie.frozen, "stop before the insert")
    return zombie


def _wait_taken_over(workspace: Workspace) -> None:
    """Somebody has written all that was there when this was called."""
    ends = workspace.ends()
    until(
        lambda: all(workspace.high_water().get(partition, 0) >= end for partition, end in ends.items()),
        "takeover",
        pause=0.1,
    )


def _lost_claims(workspace: Workspace) -> int:
    """Claims that were outdone by somebody else's before anything was finished under them."""
    sql = (
        "SELECT count() FROM projection_claims AS claim WHERE projection_name = 'steps' "
        "AND (claim.partition, claim.owner) NOT IN "
        "(SELECT partition, owner FROM projection_ledger WHERE projection_name = 'steps')"
    )
    return int(workspace.store.query(sql)[0][0])


def _end(outcome: Outcome, *projectors: Process) -> None:
    for projector in projectors:
        outcome.ask(projector.code is None, f"one ended with {projector.code}: {projector.said()[-300:]}")
        projector.kill()
