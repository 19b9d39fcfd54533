"""The rows of the matrix, by number: what is injected, and the function that does it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from faults.row import Outcome, Run


@dataclass(frozen=True)
class Row:
    """`function` of the module faults.rows.`module` injects `fault`.

    `waits`: it mostly waits, so that its full form may run beside another such.
    """

    fault: str
    module: str
    function: str
    waits: bool = False

    def load(self) -> Callable[[Run], Outcome]:
        """The function."""
        found: Callable[[Run], Outcome] = getattr(
            importlib.import_module(f"faults.rows.{self.module}"), self.function
        )
        return found


ROWS = {
    1: Row("projector killed (kill -9) at random moments, under load", "killed", "at_random"),
    2: Row("projector killed (kill -9) at each named step of the batch", "killed", "at_each_step"),
    3: Row("projector frozen past its session, taken over from, then woken", "zombies", "frozen"),
    4: Row("insert applied, reply lost; a statement sent twice on the way", "replies", "lost"),
    5: Row("ClickHouse engine killed (kill -9) and restarted, under load", "store", "killed"),
    6: Row("ClickHouse away; answering 503; hanging without an answer", "store", "away", waits=True),
    7: Row("disk of the store full, then freed", "refusals", "disk_full", waits=True),
    8: Row(
        "tables read-only, then writable; password wrong, then right", "refusals", "read_only", waits=True
    ),
    9: Row("two projectors that both believe they own every partition", "zombies", "racing"),
    10: Row("rebalances: members joining and leaving all the time", "rebalances", "joining_and_leaving"),
    11: Row("broker killed (kill -9) and restarted, under load", "brokers", "killed"),
    12: Row("broker away with emitters running", "brokers", "away"),
    13: Row("emitter's buffer overrun", "emitters", "overrun"),
    14: Row("broker refuses: too large, not authorised, topic missing", "emitters", "refused", waits=True),
    15: Row("prefork server: forks with emissions before, during and after", "ends", "prefork"),
    16: Row("exits: return, exception, SIGTERM, os._exit, kill -9", "ends", "exits"),
    17: Row("clocks of workers a day and a year off, both ways, by which they give times", "clocks", "wrong"),
    18: Row("1 % poison of every kind mixed in at full speed", "poison", "mixed_in"),
    19: Row("topic recreated under the projector", "recreated", "recreated", waits=True),
    20: Row("all of the above but 19 at random, at 5,000 events a second or more", "everything", "at_random"),
    21: Row("200 workers with a journal killed (kill -9) at random moments", "journals", "killed"),
    22: Row(
        "with a journal: Pool, Pool.terminate, max_tasks_per_child, SIGTERM, os._exit, kill -9",
        "journals",
        "ended",
    ),
    23: Row("three secured brokers: the leader killed (kill -9), under load", "clustered", "leader_killed"),
    24: Row("three secured brokers: a rolling restart, under load", "clustered", "rolling_restart"),
    25: Row("three secured brokers: one broker's disk wiped", "clustered", "disk_wiped"),
    26: Row("three secured brokers: two of them away", "clustered", "two_away"),
    27: Row("three secured brokers: certificates rotated, under load", "clustered", "certificates_rotated"),
    28: Row("three secured brokers: partitions added while all runs", "clustered", "partitions_added"),
    29: Row(
        "two shards: projectors joining, leaving and killed (kill -9), under load", "shards", "rebalanced"
    ),
    30: Row("two shards: the engine of one killed (kill -9), under load", "shards", "engine_killed"),
    31: Row("two shards: handovers to and fro that are cut off, under load", "shards", "handed_over"),
}
