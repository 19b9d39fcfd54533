"""The group is never at rest."""

from __future__ import annotations

import time

from faults.row import Outcome, Run
from faults.world import Process


def joining_and_leaving(run: Run) -> Outcome:
    """One to four members; every second or two one joins, leaves in peace or is killed."""
    seconds = run.pick(14.0, 45.0)
    members: list[Process] = []
    counts = {"joined": 0, "left": 0, "killed": 0}
    outcome = Outcome(0, detail=dict(counts))
    with run.workspace() as (workspace, load):
        load.start(rate=1000)
        end = time.monotonic() + seconds
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
        load.stop()
        outcome.injected = sum(counts.values())
        outcome.detail.update(counts)
        run.judged(workspace, load, outcome)
        for member in members:
            outcome.ask(member.code is None, f"a member ended with {member.code}: {member.said()[-300:]}")
        return outcome
