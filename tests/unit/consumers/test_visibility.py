from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from steptrail.consumers.loop.lag import LagReport, PartitionLag
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import PartitionStatus, State, Status
from steptrail.consumers.runtime.status_server import StatusServer


@pytest.fixture
def served() -> Iterator[tuple[Status, ProjectorMetrics, str]]:
    """A status and metrics, and where they are served."""
    status, metrics = Status(), ProjectorMetrics()
    server = StatusServer(status, metrics, host="127.0.0.1", port=0)
    yield status, metrics, f"http://127.0.0.1:{server.port}"
    server.close()


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_ready_says_what_is_waited_for(served: tuple[Status, ProjectorMetrics, str]) -> None:
    """503 with the reason until everything that is needed is there."""
    status, _, url = served
    assert get(f"{url}/readyz") == (503, '{"ok":false,"reason":"starting"}')
    status.enter(State.WAITING, "ClickHouse")
    assert get(f"{url}/readyz") == (503, '{"ok":false,"reason":"ClickHouse"}')
    status.enter(State.RUNNING)
    assert get(f"{url}/readyz") == (200, '{"ok":true}')


def test_healthy_is_a_loop_that_turns(served: tuple[Status, ProjectorMetrics, str]) -> None:
    """Waiting for the store is no reason to be restarted; hanging is."""
    status, _, url = served
    status.enter(State.WAITING, "ClickHouse")
    assert get(f"{url}/healthz")[0] == 200
    status.last_turn -= 61
    assert get(f"{url}/healthz")[0] == 503


def test_status_and_metrics_are_served(served: tuple[Status, ProjectorMetrics, str]) -> None:
    """As JSON and in Prometheus' format; nothing else is there."""
    status, metrics, url = served
    status.partitions[3] = PartitionStatus(written=40, end=100, lag_seconds=1.5)
    metrics.dead_letters.labels("TRUNCATED").inc(2)
    told = json.loads(get(f"{url}/status")[1])
    assert (told["lag_events"], told["lag_seconds"]) == (60, 1.5)
    assert told["partitions"]["3"]["lag_events"] == 60
    assert 'steptrail_projector_dead_letters_total{reason="TRUNCATED"} 2.0' in get(f"{url}/metrics")[1]
    assert get(f"{url}/other")[0] == 404


def test_lag_is_unknown_when_it_is_of_one_partition() -> None:
    """A sum with a hole in it would be a lie."""
    known = PartitionLag(0, end=10, projected=4, lag_events=6, lag_seconds=2.0)
    assert LagReport("t", "g", partitions=(known,)).lag_events == 6
    report = LagReport("t", "g", partitions=(known, PartitionLag(1, end=10)))
    assert report.lag_events is None
    assert report.lag_seconds is None
    assert json.loads(json.dumps(report.as_dict()))["partitions"][1]["projected"] is None
