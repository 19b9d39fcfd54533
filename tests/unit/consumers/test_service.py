from __future__ import annotations

import logging
import threading
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.service import Service, Stopping
from steptrail.consumers.runtime.status import Status
from steptrail.schemas.configuration.settings import Settings

LOG = logging.getLogger("steptrail.consumers.projector")


class Recorded(BackgroundPart):
    """Notes what becomes of it; fails if told to."""

    def __init__(self, name: str, stop: threading.Event, notes: list[str], *, fails: bool = False) -> None:
        super().__init__(name, stop, LOG)
        self.notes = notes
        self.fails = fails
        self.begun = threading.Event()

    def run(self) -> None:
        self.begun.set()
        if self.fails:
            raise ValueError(self._name)
        self._stop.wait()
        self.notes.append(f"{self._name} ended")


class Resource:
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def close(self) -> None:
        self.notes.append(f"{self.name} closed")


def service(stop: threading.Event, **values: Any) -> Service:
    return Service(Settings(**values), stop, Status(), ProjectorMetrics(), log=LOG)


def test_parts_end_before_what_they_use_is_closed() -> None:
    """When `stop` is set: parts first, then resources, last first."""
    stop, notes = threading.Event(), list[str]()
    with service(stop) as running:
        running.closing(Resource("store", notes))
        running.closing(Resource("topic", notes))
        part = running.add(Recorded("judging", running.stopping, notes))

        def main(stopping: threading.Event) -> None:
            assert part.begun.wait(60)
            stop.set()
            assert stopping.is_set()
            notes.append("main ended")

        running.run(main)
    assert sorted(notes[:2]) == ["judging ended", "main ended"]
    assert notes[2:] == ["topic closed", "store closed"]


def test_a_part_that_fails_ends_the_service_and_is_raised() -> None:
    """What reads without judging is of no use; the caller's event stays as it is."""
    stop, notes = threading.Event(), list[str]()

    def run() -> None:
        with service(stop) as running:
            running.closing(Resource("store", notes))
            running.add(Recorded("judging", running.stopping, notes, fails=True))
            running.add(Recorded("counting", running.stopping, notes))
            running.run(lambda stopping: void(stopping.wait(60)))

    with pytest.raises(ValueError, match="judging"):
        run()
    assert notes == ["counting ended", "store closed"]
    assert not stop.is_set()


def test_what_ends_the_main_loop_comes_first() -> None:
    """A part that fails for the same reason does not hide it."""
    stop, notes = threading.Event(), list[str]()

    def main(_: threading.Event) -> None:
        raise KeyError("main")

    def run() -> None:
        with service(stop) as running:
            running.add(Recorded("judging", running.stopping, notes, fails=True))
            running.run(main)

    with pytest.raises(KeyError, match="main"):
        run()


def test_what_was_opened_is_closed_when_the_rest_cannot_be_built() -> None:
    """Parts that were never started are not waited for."""
    notes = list[str]()

    def run() -> None:
        with service(threading.Event()) as running:
            running.closing(Resource("store", notes))
            running.add(Recorded("judging", running.stopping, notes))
            raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        run()
    assert notes == ["store closed"]


def test_metrics_are_served_from_the_beginning_to_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """On a port that the log names; without one there is no server."""
    caplog.set_level(logging.INFO)
    with service(threading.Event(), metrics_port=0):
        (line,) = [record for record in caplog.records if record.getMessage() == "serving metrics"]
        url = f"http://{vars(line)['host']}:{vars(line)['port']}/metrics"
        with urlopen(url, timeout=60) as answer:
            assert b"steptrail_projector_events_total" in answer.read()
    with pytest.raises(URLError):
        urlopen(url, timeout=60)
    caplog.clear()
    with service(threading.Event()):
        assert caplog.records == []


def test_the_deadline_runs_from_when_the_stop_is_seen() -> None:
    """Not from the start, and not anew for each that waits."""
    asked = threading.Event()
    stopping = Stopping(asked, 10.0)
    assert not stopping.is_set()
    assert not stopping.wait(0)
    asked.set()
    assert stopping.wait()
    assert stopping.deadline is stopping.deadline
    assert 0 < stopping.deadline.remaining() <= 10.0


def void(_: object) -> None:
    """Nothing."""
