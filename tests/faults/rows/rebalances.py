"""The group is never at rest."""

from __future__ import annotations

import time

from faults.row import Outcome, Run
from faults.workspace import Workspace
from faults.world import Process


def joining_and_leaving(run: Run) -> Outcome:
    """One to four members; every second or two one joins, leaves in peace or is killed."""
    with run.workspace() as (workspace, load):
        load.start(rate=1000)
        outcome, members = join_and_leave(run, workspace)
        load.stop()
        return stayed(run.judged(workspace, load, outcome), members)


def join_and_leave(run: Run, workspace: Workspace) -> tuple[Outcome, list[Process]]:
    """Have members join and leave for a while; what was done, and the members that are left."""
    members: list[Process] = []
    counts = {"joined": 0, "left": 0, "killed": 0}
    end = time.monotonic() + run.pick(14.0, 45.0)
    while time.monotonic() < end:
        if len(members) < 2 or (len(members) < 4 and run.rng.random() < 0.5):
            members.append(workspace.projector(batch=500))
            counts["joined"] += 1
        else:
            member = members.pop(run.rng.randrange(len(members)))
            if run.rng.random() < 0.7:
                member.terminate()
                counts["left"] += 1
            else:
                member.kill()
                counts["killed"] += 1
        time.sleep(run.rng.uniform(0.7, 2.0))
    return Outcome(sum(counts.values()), detail=dict(counts)), members


def stayed(outcome: Outcome, members: list[Process]) -> Outcome:
    """None of the members that were left ended by itself."""
    for member in members:
        outcome.ask(member.code is None, f"a member ended with {member.code}: {member.said()[-300:]}")
    return outcome
