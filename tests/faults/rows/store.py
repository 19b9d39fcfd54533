"""The store goes away: killed and back, away for long, refusing, silent."""

from __future__ import annotations

import time

from faults.row import Outcome, Run
from faults.workspace import Workspace
from faults.world import Process
from support.proxy import Fate, for_a_while, proxy_to


def killed(run: Run) -> Outcome:
    """kill -9 of the engine amid whatever it does, and a start on the same data; it wrote what it said it had."""
    kills = run.pick(4, 12)
    with run.workspace() as (workspace, load):
        load.start(rate=run.pick(600, 1500))
        projector = workspace.projector(batch=500)
        for _ in range(kills):
            workspace.wait_rows(_rows(workspace))
            time.sleep(run.rng.uniform(0, 1.0))
            run.world.engine.restart()
        load.stop()
        outcome = run.judged(workspace, load, Outcome(kills))
        _ask_alive(outcome, projector)
        return outcome


def away(run: Run) -> Outcome:
    """Down, answering 503, taking requests without an answer, frozen in the middle of a statement."""
    seconds = run.pick(3.0, 60.0)
    with run.workspace() as (workspace, load), proxy_to(run.world.at.clickhouse_port) as proxy:
        load.start(rate=run.pick(800, 400))
        projector = workspace.projector(clickhouse=workspace.clickhouse_at(proxy.port), batch=1000)
        engine = run.world.engine
        workspace.wait_rows()
        engine.kill()
        time.sleep(seconds)
        engine.start()
        workspace.wait_rows(_rows(workspace))
        for fate in (Fate.UNAVAILABLE, Fate.HANG, Fate.HANG_REPLY, Fate.REFUSE):
            for_a_while(proxy, fate, run.pick(0.5, 6.0))
            workspace.wait_rows(_rows(workspace))
        assert engine.process is not None
        engine.process.freeze()
        time.sleep(seconds / 4)
        engine.process.wake()
        load.stop()
        outcome = run.judged(workspace, load, Outcome(6, detail={"away_s": seconds}))
        _ask_alive(outcome, projector)
        outcome.ask("waiting for ClickHouse" in projector.said(), "the log does not say what was waited for")
        met = {fate.name.lower(): proxy.count(fate) for fate in Fate if proxy.count(fate)}
        outcome.detail["requests"] = met
        outcome.ask("PARTITIONS_LOST" not in projector.said(), "it left its group")
        return outcome


def _rows(workspace: Workspace) -> int:
    return workspace.wait_rows(-1)


def _ask_alive(outcome: Outcome, projector: Process) -> None:
    outcome.ask(
        projector.code is None, f"the projector ended with {projector.code}: {projector.said()[-500:]}"
    )
