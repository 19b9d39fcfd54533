"""Tables in two shards: who writes them comes and goes, a shard goes away, partitions move."""

from __future__ import annotations

from faults.row import Outcome, Run
from faults.rows.rebalances import join_and_leave, stayed
from faults.sharded import ShardedWorkspace, sharded
from steptrail.projections.clickhouse.errors import PartitionMoved
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.cluster.handover import hand_over, placements


def rebalanced(run: Run) -> Outcome:
    """One to four members; every second or two one joins, leaves in peace or is killed."""
    with sharded(run) as (workspace, load, _):
        load.start(rate=1000)
        outcome, members = join_and_leave(run, workspace)
        load.stop()
        return _in_both(workspace, stayed(run.judged(workspace, load, outcome), members))


def engine_killed(run: Run) -> Outcome:
    """kill -9 of one of the two, in turn, and a start on the same data; the other one goes on answering."""
    kills = run.pick(2, 10)
    with sharded(run) as (workspace, load, second):
        load.start(rate=1000)
        projector = workspace.projector(batch=500)
        for number in range(kills):
            workspace.wait_rows(workspace.wait_rows())
            engine = (second, run.world.engine)[number % 2]
            engine.kill()
            load.wait_issued(load.issued() + run.pick(300, 1000))
            engine.start()
        load.stop()
        outcome = run.judged(workspace, load, Outcome(kills))
        outcome.ask(projector.code is None, f"the projector ended: {projector.said()[-500:]}")
        return _in_both(workspace, outcome)


class Cut(Exception):
    """A handover ends between two of its steps."""


def handed_over(run: Run) -> Outcome:
    """All partitions to the first shard, and back; whoever placed them otherwise runs until that is done."""
    outcome = Outcome(0, detail={"cut": 0})
    with sharded(run) as (workspace, load, _):
        load.start(rate=500)
        projector = workspace.projector(batch=500)
        for used in (1, 2) * run.pick(1, 5):
            workspace.wait_rows(workspace.wait_rows())
            _hand_over(run, workspace, used, outcome)
            projector.kill()
            projector = workspace.projector(batch=500, STEPTRAIL_CLICKHOUSE_SERVERS=workspace.servers(used))
        load.stop()
        run.judged(workspace, load, outcome)
        outcome.ask(projector.code is None, f"the projector ended: {projector.said()[-500:]}")
        return _in_both(workspace, outcome)


def _hand_over(run: Run, workspace: ShardedWorkspace, used: int, outcome: Outcome) -> None:
    """Have every partition in the first `used` shards, however often that is cut off."""
    shards = Shards(workspace.shards.stores, used)

    def cut_at_times(_: str) -> None:
        if run.rng.random() < 0.12:
            raise Cut

    for _ in range(200):
        wrong = [placement for placement in placements(shards) if not placement.right]
        if not wrong:
            return
        try:
            hand_over(shards, wrong[0], at=cut_at_times)
            outcome.injected += 1
        except Cut:
            outcome.detail["cut"] += 1
        except PartitionMoved:  # the projector that still runs claimed it in between each time
            pass
    raise RuntimeError(f"still not in the first {used} shards: {wrong}")


def _in_both(workspace: ShardedWorkspace, outcome: Outcome) -> Outcome:
    """Each shard has rows: they were not all in one."""
    counts = [int(store.query("SELECT count() FROM steps")[0][0]) for store in workspace.shards.stores]
    outcome.detail["rows_of_shards"] = counts
    outcome.ask(all(counts), f"the shards have {counts} rows")
    return outcome
