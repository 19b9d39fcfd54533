"""Between projector and store: statements that were carried out and not answered, cut in half, or sent twice."""

from __future__ import annotations

from faults.hooks import step_of
from faults.row import Outcome, Run
from support.proxy import Fate, Request, proxy_to
from support.waiting import until

_AT = ("claim", "load", "steps", "step_executions", "emitter_sequences", "ledger")


def lost(run: Run) -> Outcome:
    """A third of the statements that write meet a fault, the insert into `steps` most often."""
    rng = run.rng
    wanted = run.pick(18, 90)
    fates = [Fate.LOSE_REPLY, Fate.LOSE_REPLY, Fate.CUT_BODY, Fate.TWICE]
    with run.workspace() as (workspace, load), proxy_to(run.world.at.clickhouse_port) as proxy:
        injected: dict[str, int] = {}

        def rule(request: Request) -> Fate:
            step = step_of(request.sql, request.parameters)
            if step not in _AT or rng.random() > (0.4 if step == "steps" else 0.08):
                return Fate.PASS
            fate = rng.choice(fates)
            injected[f"{fate.name.lower()} {step}"] = injected.get(f"{fate.name.lower()} {step}", 0) + 1
            return fate

        proxy.rule = rule
        load.start(rate=1000)
        workspace.projector(clickhouse=workspace.clickhouse_at(proxy.port), batch=1000)
        until(lambda: sum(injected.values()) >= wanted, f"{wanted} faults", 400)
        load.stop()
        proxy.meet(Fate.PASS)
        return run.judged(
            workspace, load, Outcome(sum(injected.values()), detail=dict(sorted(injected.items())))
        )
