"""The broker goes away and comes back."""

from __future__ import annotations

import time

from faults.load import Load
from faults.row import Outcome, Run

WAITED_US = 100_000
"""Whoever waits for a broker that is gone waits longer; whoever does not is faster by far, on any machine."""


def killed(run: Run) -> Outcome:
    """kill -9 amid produce and fetch, and a start on the same log."""
    kills = run.pick(2, 5)
    with run.workspace() as (workspace, load):
        load.start(rate=1000)
        load.start(rate=1000)
        projector = workspace.projector(batch=1000)
        for _ in range(kills):
            workspace.wait_rows(workspace.rows())
            time.sleep(run.rng.uniform(0.2, 2.0))
            run.world.broker.restart()
            load.wait_issued(load.issued() + 500)
        load.stop()
        outcome = run.judged(workspace, load, Outcome(kills))
        outcome.ask(projector.code is None, f"the projector ended: {projector.said()[-500:]}")
        return accounted(load, outcome)


def away(run: Run) -> Outcome:
    """Gone for a minute while workers emit: they wait for nothing, and the queue has room for all of it."""
    seconds = run.pick(4.0, 60.0)
    with run.workspace() as (workspace, load):
        load.start(rate=500)
        load.start(rate=500)
        workspace.projector(batch=1000)
        workspace.wait_rows()
        run.world.broker.kill()
        time.sleep(seconds)
        run.world.broker.start()
        load.stop()
        outcome = run.judged(workspace, load, Outcome(1, detail={"away_s": seconds}))
        accounted(load, outcome)
        worst = max(account["p99_us"] for account in load.record.accounts())
        outcome.detail["p99_us"] = worst
        outcome.ask(worst <= WAITED_US, f"emissions waited for the broker: p99 is {worst} µs")
        outcome.ask(
            not any(account["failed"] or account["dropped"] for account in load.record.accounts()),
            "events were given up though the queue had room for them",
        )
        return outcome


def accounted(load: Load, outcome: Outcome) -> Outcome:
    """Add what the emitters say of all their events."""
    accounts = load.record.accounts()
    told: dict[str, int] = {}
    for account in accounts:
        for name in ("accepted", "delivered", "pending", "spooled"):
            told[name] = told.get(name, 0) + account[name]
        for kind in ("failed", "dropped"):
            for reason, count in account[kind].items():
                told[f"{kind}: {reason}"] = told.get(f"{kind}: {reason}", 0) + count
    told["balance_checks"] = sum(account.get("balance_checks", 0) for account in accounts)
    outcome.detail["accounting"] = told
    return outcome
