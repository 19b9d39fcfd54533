from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.monitor import PROGRESS_EVERY_S, REFRESH_EVERY_S, SLOW_AFTER_S, Monitor, Written
from steptrail.consumers.loop.partitions import Held
from steptrail.consumers.loop.positions import Gap
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import State, Status
from support.consumed import TIME_MS, batch_of, message

LOG = logging.getLogger("steptrail.consumers.observations")


@dataclass
class Watched:
    """A monitor on a clock of the test's own; nothing listens where it asks for ends."""

    now: float = 1000.0
    status: Status = field(default_factory=Status)
    metrics: ProjectorMetrics = field(default_factory=ProjectorMetrics)

    def __post_init__(self) -> None:
        questions = BrokerQuestions({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "t", timeout=0.1)
        self.lag = LagWatch(questions)
        self.monitor = Monitor(
            self.status,
            self.metrics,
            self.lag,
            log=LOG,
            clock=lambda: self.now,
            wall=lambda: TIME_MS / 1000 + self.now,
        )

    def turn(self, held: dict[int, Held], first_times: dict[int, int] | None = None) -> None:
        self.now += REFRESH_EVERY_S
        self.monitor.turn(held, first_times or {})

    def state(self) -> State:
        return self.status.state

    def shown(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"steptrail_projector_{name}", labels)


def test_every_line_goes_to_the_log_of_its_own_projection(caplog: pytest.LogCaptureFixture) -> None:
    """Several loops run in one process, and are told apart by it."""
    caplog.set_level(logging.DEBUG)
    watched = Watched()
    monitor = watched.monitor
    batch = batch_of(message(0, 4))
    monitor.assigned([0])
    monitor.written(Written(batch, frozenset({0}), 0.2))
    monitor.gap(Gap(0, 1, 3, "expired"))
    monitor.waiting("ClickHouse", 0.5, 1)
    monitor.running()
    monitor.writer_busy(SLOW_AFTER_S)
    monitor.broker_said(KafkaError(KafkaError._TRANSPORT))
    watched.now += PROGRESS_EVERY_S
    watched.turn({0: Held(0, 1, written=5)})
    monitor.revoked([0])
    monitor.stopping()
    monitor.stopped()
    assert len(caplog.records) == 11
    assert {record.name for record in caplog.records} == {LOG.name}


def test_the_state_says_what_is_waited_for() -> None:
    """From the group to the fault of a write, and back."""
    watched = Watched()
    watched.turn({})
    assert watched.status.fault == "the consumer group to let it in"
    watched.monitor.running()
    assert watched.state() is State.WAITING, "nothing is assigned yet"
    watched.monitor.assigned([])
    watched.monitor.running()
    watched.lag.fault = None
    watched.turn({})
    assert watched.state() is State.RUNNING
    watched.monitor.waiting("ClickHouse", 0.5, 1)
    assert (watched.status.fault, watched.shown("waiting", reason="ClickHouse")) == ("ClickHouse", 1)
    assert watched.shown("faults_total") == 1
    watched.monitor.running()
    assert watched.state() is State.RUNNING
    assert watched.shown("waiting", reason="ClickHouse") is None


def test_a_write_that_takes_long_is_shown_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It may be a store that hangs: nothing has failed yet."""
    watched = Watched()
    watched.monitor.assigned([0])
    watched.monitor.running()
    watched.lag.fault = None
    for seconds in (SLOW_AFTER_S, SLOW_AFTER_S + 1):
        watched.monitor.writer_busy(seconds)
        watched.turn({})
    assert watched.status.fault == "ClickHouse to answer"
    assert caplog.text.count("waiting for ClickHouse to answer a write") == 1
    watched.monitor.writer_busy(0.0)
    watched.turn({})
    assert watched.state() is State.RUNNING


def test_a_gap_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often the partition is opened."""
    watched = Watched()
    for _ in range(2):
        watched.monitor.gap(Gap(2, 10, 14, "expired before they were read"))
    assert watched.shown("gap_offsets_total", partition="2") == 5
    assert caplog.text.count("offsets were lost") == 1


def test_lag_is_the_age_of_the_oldest_record_that_is_not_written() -> None:
    """Of what is buffered; of what is not read yet, since the last record that was written."""
    watched = Watched()
    watched.lag.ends = {0: 9, 1: 5}
    held = {0: Held(0, 1, written=5), 1: Held(1, 1, written=5)}
    now_ms = TIME_MS + (watched.now + REFRESH_EVERY_S) * 1000
    watched.turn(held, {0: int(now_ms - 2500)})
    shown = watched.status.partitions
    assert (shown[0].lag_events, round(shown[0].lag_seconds, 1)) == (4, 2.5)
    assert (shown[1].lag_events, shown[1].lag_seconds) == (0, 0.0)
    watched.monitor.written(Written(batch_of(message(0, 8)), frozenset({0}), 0.1))
    watched.turn(held)
    assert shown[0].lag_seconds == pytest.approx((watched.now * 1000 - 8) / 1000)


def test_a_partition_that_was_revoked_is_shown_no_more() -> None:
    """Another member shows it now."""
    watched = Watched()
    watched.turn({0: Held(0, 1, written=5)})
    assert watched.shown("position", partition="0") == 5
    watched.monitor.revoked([0, 7])
    assert watched.status.partitions == {}
    assert watched.shown("position", partition="0") is None


def test_progress_is_logged_every_ten_seconds_while_there_is_any(caplog: pytest.LogCaptureFixture) -> None:
    """With its rate; an idle loop says so once a minute."""
    caplog.set_level(logging.INFO)
    watched = Watched()
    watched.monitor.assigned([])
    watched.monitor.running()
    watched.lag.fault = None
    watched.monitor.written(Written(batch_of(message(0, 4), message(0, 5)), frozenset({0}), 0.1))
    for _ in range(50):
        watched.lag.fault = None
        watched.turn({})
    (line,) = [record for record in caplog.records if record.getMessage() == "progress"]
    assert (vars(line)["events"], vars(line)["events_per_second"]) == (2, 0.2)
