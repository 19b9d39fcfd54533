"""Everything at once, at random, for a quarter of an hour.

All that the other rows inject, but for the recreated topic, which ends the projection, and the full disk, which needs
a store of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from faults.hooks import step_of
from faults.load import Load
from faults.poisoning import is_poison
from faults.row import Outcome, Run
from faults.rows.brokers import accounted
from faults.rows.emitters import forbidden, limited
from faults.rows.killed import STEPS
from faults.workspace import Workspace
from faults.world import Process
from support.proxy import Fate, Proxy, Request, proxy_to

_RATE = 5_000


class Chaos:
    """The parts that faults are injected into, and the faults, each a method."""

    def __init__(self, run: Run, workspace: Workspace, load: Load, proxy: Proxy) -> None:
        self.run = run
        self.rng = run.rng
        self.workspace = workspace
        self.load = load
        self.proxy = proxy
        self.counts: dict[str, int] = {}
        self.projectors: list[Process] = []
        self.emitters: list[Process] = []
        self._names = 0
        self.faults: dict[Callable[[], None], int] = {
            self.kill_projector: 5,
            self.kill_projector_at_a_step: 2,
            self.race: 2,
            self.stop_projector: 2,
            self.freeze_projector: 3,
            self.more_projectors: 3,
            self.kill_engine: 2,
            self.freeze_engine: 1,
            self.cut_the_store: 2,
            self.lose_replies: 4,
            self.read_only_table: 1,
            self.kill_broker: 1,
            self.freeze_broker: 1,
            self.refuse_large: 1,
            self.forbid_writing: 1,
            self.overrun_a_spool: 1,
            self.kill_worker: 2,
            self.end_worker: 2,
            self.wrong_clock: 1,
            self.forks: 1,
            self.poison: 1,
        }

    def one(self) -> None:
        """One fault, drawn."""
        fault = self.rng.choices(list(self.faults), list(self.faults.values()))[0]
        fault()
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1

    def keep_up(self) -> None:
        """Start what has ended: two projectors, and workers for the whole rate."""
        self.keep_projecting()
        self.emitters = [each for each in self.emitters if each.code is None]
        while len(self.emitters) < 2:
            self.emitters.append(self.start_worker())

    def keep_projecting(self) -> None:
        """Start the projectors that have ended."""
        self.projectors = [each for each in self.projectors if each.code is None]
        while len(self.projectors) < 2:
            self.start_projector()

    def start_projector(self) -> None:
        # Half of them see the store through the proxy; some have a name of their own in the group.
        port = self.proxy.port if self.rng.random() < 0.5 else self.run.world.at.clickhouse_port
        self.projectors.append(
            self.workspace.projector(
                clickhouse=self.workspace.clickhouse_at(port), batch=20_000, STEPTRAIL_BATCH_MAX_AGE_S="1.0"
            )
        )

    def start_worker(self, **plan: object) -> Process:
        self._names += 1
        plan = {"rate": _RATE * 0.6, "flush_s": 90.0, "close_s": 5.0, **plan}
        return self.load.start(f"w{self._names}", **plan)

    # --- the faults

    def kill_projector(self) -> None:
        self.rng.choice(self.projectors).kill()

    def kill_projector_at_a_step(self) -> None:
        step, when = self.rng.choice(STEPS)
        self.projectors.append(
            self.workspace.projector(
                {"do": "kill", "at": step, "when": when, "nth": self.rng.randint(1, 3)}, batch=20_000
            )
        )

    def race(self) -> None:
        """Another one believes to own every partition."""
        other = self.workspace.projector(self_assigned=True, batch=2_000)
        time.sleep(self.rng.uniform(2.0, 5.0))
        other.kill()

    def stop_projector(self) -> None:
        self.rng.choice(self.projectors).terminate()

    def freeze_projector(self) -> None:
        projector = self.rng.choice(self.projectors)
        projector.freeze()
        time.sleep(self.rng.uniform(1.0, 6.0))
        projector.wake()

    def more_projectors(self) -> None:
        if len(self.projectors) < 3:
            self.start_projector()
        else:
            self.projectors.pop().terminate()

    def kill_engine(self) -> None:
        self.run.world.engine.restart()

    def freeze_engine(self) -> None:
        engine = self.run.world.engine.process
        assert engine is not None
        engine.freeze()
        time.sleep(self.rng.uniform(1.0, 8.0))
        engine.wake()

    def cut_the_store(self) -> None:
        fate = self.rng.choice([Fate.UNAVAILABLE, Fate.HANG, Fate.HANG_REPLY, Fate.REFUSE])
        self.proxy.meet(fate)
        time.sleep(self.rng.uniform(1.0, 5.0))
        self.proxy.meet(Fate.PASS)

    def lose_replies(self) -> None:
        left = [self.rng.randint(1, 6)]
        fate = self.rng.choice([Fate.LOSE_REPLY, Fate.CUT_BODY, Fate.TWICE])

        def rule(request: Request) -> Fate:
            step = step_of(request.sql, request.parameters)
            if step not in ("steps", "step_executions", "ledger", "load", "claim") or left[0] <= 0:
                return Fate.PASS
            left[0] -= 1
            return fate

        self.proxy.rule = rule
        time.sleep(self.rng.uniform(1.0, 3.0))

    def read_only_table(self) -> None:
        table = self.rng.choice(["steps", "step_executions", "projection_ledger"])
        self.workspace.store.command(f"ALTER TABLE {table} MODIFY SETTING table_readonly = 1")
        time.sleep(self.rng.uniform(0.5, 3.0))
        self.workspace.store.command(f"ALTER TABLE {table} RESET SETTING table_readonly")

    def kill_broker(self) -> None:
        self.run.world.broker.restart()

    def freeze_broker(self) -> None:
        broker = self.run.world.broker.process
        assert broker is not None
        broker.freeze()
        time.sleep(self.rng.uniform(1.0, 8.0))
        broker.wake()

    def refuse_large(self) -> None:
        with limited(self.workspace, "20000"):
            time.sleep(self.rng.uniform(0.5, 2.0))

    def forbid_writing(self) -> None:
        with forbidden(self.workspace):
            time.sleep(self.rng.uniform(0.5, 2.0))

    def overrun_a_spool(self) -> None:
        """A worker with a small queue and a spool, while the broker is frozen for a moment."""
        folder = self.load.record.folder / "spool"
        folder.mkdir(exist_ok=True)
        self.start_worker(
            rate=500, count=3_000, settings={"queue_max_messages": 200, "spool": str(folder)}, flush_s=120.0
        )
        time.sleep(2.0)
        self.freeze_broker()

    def kill_worker(self) -> None:
        self.rng.choice(self.emitters).kill()

    def end_worker(self) -> None:
        self.rng.choice(self.emitters).terminate()

    def wrong_clock(self) -> None:
        days = self.rng.choice([-365, -1, 1, 365])
        self.start_worker(rate=300, count=1_500, clock_s=days * 86_400.0, gives_times=True)

    def forks(self) -> None:
        self._names += 1
        self.load.program("faults.prefork", name=f"server{self._names}", forks=5, each=20)

    def poison(self) -> None:
        self.load.program("faults.poisoning", count=200, rate=200)


def at_random(run: Run) -> Outcome:
    """Faults drawn one after the other, some overlapping, while workers emit 5,000 events a second or more."""
    seconds = run.pick(25.0, 900.0)
    # The store of one document in so many is folded and compared with what was issued; everything else is for all.
    one_in = run.pick(4, 16)
    with run.workspace() as (workspace, load), proxy_to(run.world.at.clickhouse_port) as proxy:
        chaos = Chaos(run, workspace, load, proxy)
        chaos.keep_up()
        workspace.wait_rows()
        began, first = time.monotonic(), load.issued()
        while time.monotonic() < began + seconds:
            chaos.one()
            time.sleep(run.rng.uniform(0.2, run.pick(2.0, 4.0)))
            chaos.keep_up()
        took, emitted = time.monotonic() - began, load.issued() - first
        proxy.meet(Fate.PASS)
        run.world.heal()
        for worker in load.workers:
            if worker.code is None and worker.name.startswith("worker"):
                worker.terminate()
        load.join(240, codes=(0, -9, -15))
        chaos.keep_projecting()
        outcome = Outcome(sum(chaos.counts.values()), detail=dict(sorted(chaos.counts.items())))
        run.judged(workspace, load, outcome, is_poison=is_poison, one_in=one_in, timeout=600)
        outcome.detail["events_per_s"] = rate = round(emitted / took)
        outcome.detail["minutes"] = round(took / 60, 1)
        outcome.ask(
            run.quick or rate >= _RATE, f"{rate} events a second were emitted, {_RATE} were asked for"
        )
        return accounted(load, outcome)
