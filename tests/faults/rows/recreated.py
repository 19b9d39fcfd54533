"""The topic is deleted and created again: its offsets begin anew."""

from __future__ import annotations

import re
import sys

from confluent_kafka.admin import AdminClient

from faults import canonical
from faults.load import Load
from faults.row import Outcome, Run
from faults.workspace import Workspace
from faults.world import Process
from steptrail.schemas.topics import ensure_topics
from support.waiting import until


def recreated(run: Run) -> Outcome:
    """Under a running projector, and again while none runs: it stops, says how to go on, and damages nothing."""
    outcome = Outcome(0)
    with run.workspace() as (workspace, load):
        projector = workspace.projector(batch=1_000)
        _emit(load, "old", run.pick(2_000, 20_000))
        run.judged(workspace, load, outcome)
        before = _fingerprint(workspace)
        for running in (True, False):
            if not running:
                projector = workspace.projector(batch=1_000)
            else:
                _recreate(workspace)
                outcome.injected += 1
                # More records than the old topic had, so that offsets alone would tell nothing.
                _emit(load, "new", run.pick(3_000, 30_000))
            code = projector.wait(90)
            said = projector.said()
            outcome.ask(code not in (0, None), f"it ended with {code} as if nothing were wrong")
            outcome.ask("deleted and created again" in said, f"it does not say what happened: {said[-300:]}")
            outcome.ask("--accept-topic" in said, "it does not say how to go on")
        outcome.ask(_fingerprint(workspace) == before, "the tables are not what they were")
        topic_id = workspace.topic_id()
        told = re.findall(r"--accept-topic (\S+)", projector.said())
        outcome.ask(topic_id in told, f"it says to accept {told}, the topic is {topic_id}")
        accepting = _accepting(workspace, topic_id)
        wanted = {"old": run.pick(2_000, 20_000), "new": run.pick(3_000, 30_000)}
        try:
            until(lambda: workspace.rows() >= sum(wanted.values()), "projection of the new topic")
        except TimeoutError:
            outcome.wrong.append(f"the new topic was not projected: {accepting.said()[-500:]}")
        outcome.ask(workspace.rows_of_workers() == wanted, f"rows are {workspace.rows_of_workers()}")
        outcome.detail["rows_by_topic"] = wanted
        return outcome


def _emit(load: Load, name: str, count: int) -> None:
    load.start(name, rate=4_000, count=count).wait()


def _recreate(workspace: Workspace) -> None:
    admin = AdminClient({**workspace.settings.kafka_config(), "log_level": 0})
    admin.delete_topics([workspace.topic])[workspace.topic].result()
    until(lambda: workspace.topic not in admin.list_topics(timeout=10).topics, "deletion of the topic")

    def created() -> bool:
        try:
            ensure_topics(workspace.settings)
        except Exception:  # the old one may still be on its way out
            return False
        return True

    until(created, "creation of the topic")


def _accepting(workspace: Workspace, topic_id: str) -> Process:
    command = [sys.executable, "-m", "steptrail.deploy.cli", "run", "projector", "--accept-topic", topic_id]
    return workspace.world.spawn("projector", command, workspace.environ())


def _fingerprint(workspace: Workspace) -> tuple[int, ...]:
    """Rows and a hash over all of each table."""
    sql = f"SELECT count(), sum(cityHash64({canonical.HASH_SQL}, kafka_partition, kafka_offset)) FROM steps"
    [steps] = workspace.store.query(sql)
    [ledger] = workspace.store.query(
        "SELECT count(), sum(cityHash64(partition, first_offset, last_offset)) FROM projection_ledger "
        "WHERE projection_name = 'steps'"
    )
    [executions] = workspace.store.query(
        "SELECT count(), sum(cityHash64(doc_id, execution_id, attempt)) FROM step_executions FINAL"
    )
    return tuple(int(number) for number in (*steps, *ledger, *executions))
