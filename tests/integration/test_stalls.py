"""Stalled executions on a real stack: started work past its deadline is said to be stalled once, and taken back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from steptrail.consumers.health.rules import Observation, Observed
from steptrail.consumers.health.stall_detector import Applied, StallWatch
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.reading.reader import Reader
from steptrail.schemas import ObservedError, ObservedStep, ProcessingStatus, Settings, Topics
from steptrail.schemas.observation import StepObservation, decode_observation
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import projecting, projectors, read_all
from support.stack import environ_of
from support.waiting import until

RUNNING, SUCCESS, PENDING = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS, ProcessingStatus.PENDING
DEADLINES = {("default", "ocr"): 600.0}
LATER = 3600.0
"""Looking an hour ahead is what a watermark of an hour later amounts to: nothing more was appended meanwhile."""


def applied(settings: Settings) -> Applied:
    """What a consumer that has read everything on the steps topic has applied."""
    questions = BrokerQuestions(settings.kafka_config(), Topics(settings.topic_prefix).steps.name)
    described = questions.describe()
    ends = questions.end_offsets(range(described.partitions))
    return Applied(described.topic_id, {part: end - 1 for part, end in ends.items() if end})


def said(settings: Settings) -> list[StepObservation]:
    """What stands on the topic of observations."""
    values = [
        message.value() for message in read_all(settings, Topics(settings.topic_prefix).observations.name)
    ]
    return [decode_observation(value) for value in values if isinstance(value, bytes)]


def short(found: list[StepObservation]) -> list[tuple[str, str]]:
    return [(each.what.value, each.doc_id) for each in found]


def look(watch: StallWatch, settings: Settings, ahead: float = LATER) -> list[Observation]:
    """One look that does decide: the projector is given the time that it needs."""
    everything = applied(settings)

    def decided() -> list[list[Observation]]:
        found = watch.look(time.time() + ahead, DEADLINES, everything)
        return [found] if watch.status.waiting_for is None else []

    [found] = until(decided, "decision")
    return list(found)


def settled(manager: ProcessingStepManager) -> None:
    assert manager.flush(60) == 0
    assert manager.wait_projected(60)


def test_a_stall_is_said_once_and_taken_back_by_a_late_ending(workspace: Settings) -> None:
    """A started execution past its deadline is STALLED once; its ending retracts it, first in what is read."""
    with (
        projecting(workspace),
        connect(workspace) as clickhouse,
        open_storage(workspace) as storage,
    ):
        manager, reader = ProcessingStepManager(storage), Reader(clickhouse)
        stuck = manager.add_step("stuck", "ocr", RUNNING)
        manager.add_step("waiting", "ocr", PENDING)
        manager.add_step("done", "ocr", RUNNING)
        manager.add_step("done", "ocr", SUCCESS)
        manager.add_step("no deadline", "embed", RUNNING)
        settled(manager)
        watch = StallWatch.open(workspace, clickhouse, "test:1")

        assert look(watch, workspace, ahead=0) == []
        (first,) = look(watch, workspace)
        assert (first.what, first.execution.doc_id) == (Observed.STALLED, "stuck")
        assert look(watch, workspace) == []
        assert watch.status.stalled == 1

        (stall,) = said(workspace)
        assert (stall.what.value, stall.doc_id, stall.deadline_s) == ("STALLED", "stuck", 600.0)
        assert stall.execution_id == stuck.execution_id
        assert stall.decided_by == f"{workspace.topic_prefix}-health/test:1"
        assert "has not ended; deadline 600 s" in stall.sentence
        assert abs(stall.started_at / 1e6 - time.time()) < 120
        assert len(manager.get_steps("stuck")) == 1
        event, observed = manager.get_steps("stuck", include_observed=True)
        assert not isinstance(event, ObservedStep)
        assert isinstance(observed, ObservedStep)
        assert (observed.observed, observed.status, observed.stands) == ("STALLED", RUNNING, True)
        assert observed.error_message == stall.sentence
        assert reader.document_state(None, "stuck")[0].stalled_since == observed.timestamp
        assert reader.document_state(None, "done")[0].stalled_since is None
        assert manager.get_recent_errors(event.timestamp) == []
        (error,) = manager.get_recent_errors(event.timestamp, include_observed=True)
        assert isinstance(error, ObservedError)
        assert (error.doc_id, error.observed) == ("stuck", "STALLED")
        assert clickhouse.query("SELECT doc_id, decided_by FROM stalls") == [("stuck", stall.decided_by)]

        # Another member, who knows only what is written: it says nothing again, and knows what stands.
        successor = StallWatch.open(workspace, clickhouse, "test:2")
        assert look(successor, workspace) == []
        assert [each.execution for each in successor.standing()] == [first.execution]

        manager.add_step("stuck", "ocr", SUCCESS, execution=stuck)
        settled(manager)
        assert reader.stalls() == []
        assert reader.document_state(None, "stuck")[0].stalled_since is None
        observed = manager.get_steps("stuck", include_observed=True)[-1]
        assert isinstance(observed, ObservedStep)
        assert (observed.observed, observed.stands) == ("STALLED", False)
        (taken_back,) = look(successor, workspace)
        assert (taken_back.what, taken_back.execution) == (Observed.RETRACTED, first.execution)
        assert look(watch, workspace) == []
        assert successor.standing() == []
        assert short(said(workspace)) == [("STALLED", "stuck"), ("RETRACTED", "stuck")]
        assert said(workspace)[1].status is SUCCESS
        assert said(workspace)[1].retracts == stall.observation_id
        watch.close()
        successor.close()


def test_a_projector_that_stands_still_makes_none(workspace: Settings) -> None:
    """What the health consumer has read and the projector has not is waited for, however late it is by the clock."""
    with (
        projectors(workspace) as (projector,),
        connect(workspace) as clickhouse,
        open_storage(workspace) as storage,
    ):
        manager = ProcessingStepManager(storage)
        for number in range(20):
            manager.add_step(f"doc {number}", "ocr", RUNNING)
        settled(manager)
        projector.signal(signal.SIGSTOP)
        for number in range(20):
            manager.add_step(f"doc {number}", "ocr", SUCCESS)
        assert manager.flush(60) == 0
        everything = applied(workspace)
        watch = StallWatch.open(workspace, clickhouse, "test:1")
        for minutes in range(11, 71, 10):
            assert watch.look(time.time() + minutes * 60, DEADLINES, everything) == []
            assert "the projector has not come as far" in str(watch.status.waiting_for)
        projector.signal(signal.SIGCONT)
        assert look(watch, workspace) == []
        assert said(workspace) == []
        assert watch.status.stalled == 0
        watch.close()


def test_what_was_said_is_known_before_more_is_said(workspace: Settings) -> None:
    """While the tables lack an observation that stands on the topic, nothing is decided, and the reason is told."""
    with connect(workspace) as clickhouse, open_storage(workspace) as storage:
        manager = ProcessingStepManager(storage)
        manager.add_step("stuck", "ocr", RUNNING)
        assert manager.flush(60) == 0
        watch = StallWatch.open(workspace, clickhouse, "test:1")
        with projecting(workspace):
            settled(manager)
        # The projector is gone: the first look can decide still, what it says is then on the topic only.
        assert len(watch.look(time.time() + LATER, DEADLINES, applied(workspace))) == 1
        assert watch.look(time.time() + LATER, DEADLINES, applied(workspace)) == []
        assert "is not in its table yet" in str(watch.status.waiting_for)
        with projecting(workspace):
            assert look(watch, workspace) == []
        assert short(said(workspace)) == [("STALLED", "stuck")]
        watch.close()


KILLED = """
import os, signal, sys, time
from steptrail.consumers.health import stall_detector as stalls
from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import Settings

where, topic_id, *offsets = sys.argv[1:]
publish, end = ObservationTopic.publish, ObservationTopic.end

def killed_after(self, observations):
    publish(self, observations)
    os.kill(os.getpid(), signal.SIGKILL)

def killed_amid(self, observations):
    publish(self, observations[: len(observations) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

def killed_before(self, observations):
    os.kill(os.getpid(), signal.SIGKILL)

if where != "nowhere":
    ObservationTopic.publish = globals()[f"killed_{where}"]
settings = Settings()
watch = stalls.StallWatch.open(settings, connect(settings), f"host:{os.getpid()}")
applied = stalls.Applied(topic_id, {n: int(offset) for n, offset in enumerate(offsets)})
until = time.monotonic() + 60
while time.monotonic() < until:
    watch.look(time.time() + 3600, {("default", "ocr"): 600.0}, applied)
    if watch.status.waiting_for is None:
        sys.exit(0)
    time.sleep(0.1)
sys.exit(watch.status.waiting_for)
"""


def _look_in_a_process(settings: Settings, where: str) -> int:
    everything = applied(settings)
    offsets = [str(everything.offsets.get(n, -1)) for n in range(settings.steps_partitions)]
    command = [sys.executable, "-c", KILLED, where, everything.topic_id, *offsets]
    return subprocess.run(command, env=environ_of(settings), check=False, timeout=120).returncode


@ONLY_IN_TEST_ALL
def test_kill_9_at_any_moment_doubles_and_loses_nothing(workspace: Settings) -> None:
    """Killed before, amid and after publishing: in the end the topic has each stall once, and each retraction."""
    with projecting(workspace), open_storage(workspace) as storage:
        manager = ProcessingStepManager(storage)
        handles = {n: manager.add_step(f"doc {n}", "ocr", RUNNING) for n in range(6)}
        settled(manager)
        for where in ("before", "amid", "after", "nowhere"):
            assert _look_in_a_process(workspace, where) == (0 if where == "nowhere" else -signal.SIGKILL)
        assert sorted(short(said(workspace))) == [("STALLED", f"doc {n}") for n in range(6)]
        for number, handle in handles.items():
            manager.add_step(f"doc {number}", "ocr", SUCCESS, execution=handle)
        settled(manager)
        for where in ("before", "amid", "after", "nowhere"):
            _look_in_a_process(workspace, where)
        found = said(workspace)
        assert sorted(short(found)) == [
            *[("RETRACTED", f"doc {n}") for n in range(6)],
            *[("STALLED", f"doc {n}") for n in range(6)],
        ]
        assert len({each.observation_id for each in found}) == 12
