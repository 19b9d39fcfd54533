"""The projector is killed: at random moments, and at each step of a batch."""

from __future__ import annotations

import signal
import time
from typing import Any

from faults.row import Outcome, Run
from support.waiting import until

STEPS: tuple[tuple[str, str], ...] = (
    ("claim", "after"),
    ("stage", "after"),
    ("load", "after"),
    ("validate", "after"),
    ("steps", "before"),
    ("steps", "after"),
    ("step_executions", "after"),
    ("emitter_sequences", "after"),
    ("ledger", "before"),
    ("ledger", "after"),
    ("readback", "after"),
    ("commit", "before"),
    ("commit", "after"),
)


def at_random(run: Run) -> Outcome:
    """Killed again and again while events come in; half of the time with a name in the group, half without."""
    kills = run.pick(6, 51)
    with run.workspace() as (workspace, load):
        load.start(rate=1000)
        load.start(rate=1000)
        for number in range(kills):
            static = "projector" if number % 2 else None
            projector = workspace.projector(static=static, batch=500)
            before = workspace.rows()
            if number % 3 == 0:
                workspace.wait_rows(before)
            else:
                time.sleep(run.rng.uniform(0.8, 2.5))
            time.sleep(run.rng.uniform(0, 0.4))
            projector.kill()
        load.stop()
        workspace.projector(batch=50_000)
        return run.judged(workspace, load, Outcome(kills))


def at_each_step(run: Run) -> Outcome:
    """Killed right before or after a statement of a batch, each in turn, at its first to third batch."""
    detail: dict[str, Any] = {}
    outcome = Outcome(0, detail=detail)
    with run.workspace() as (workspace, load):
        load.start(rate=400)
        for _ in range(run.pick(1, 2)):
            for step, when in STEPS:
                nth = 1 if step == "claim" else run.rng.randint(1, 3)
                plan = {"do": "kill", "at": step, "when": when, "nth": nth}
                projector = workspace.projector(plan, static="projector", batch=400)
                until(lambda process=projector: process.code is not None, f"{when} {step} {nth}")  # type: ignore[misc]
                if projector.code != -signal.SIGKILL:
                    outcome.wrong.append(
                        f"{when} {step}: ended with {projector.code}, {projector.said()[-300:]}"
                    )
                outcome.injected += 1
                detail[f"{when} {step}"] = detail.get(f"{when} {step}", 0) + 1
        load.stop()
        workspace.projector(batch=50_000)
        return run.judged(workspace, load, outcome)
