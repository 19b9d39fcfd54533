"""Workers whose clocks are off, as processes of their own: what they measured counts by the brokers' clock."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.consumers.health.check import HealthCheckManager
from steptrail.consumers.health.rules import HealthStatus
from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal.failures import NO, OK
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.reading.reader import Reader
from steptrail.schemas import ProcessingStatus, Settings
from support.effort import only_some
from support.projecting import projecting
from support.stack import environ_of
from support.waiting import until

RUNNING, SUCCESS, ERROR = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS, ProcessingStatus.ERROR

# The clock is set before anything of steptrail takes hold of it.
WORKER = """
import sys, time
off_ns, between = int(float(sys.argv[1]) * 1e9), sys.argv[2]
right = time.time_ns
time.time_ns = lambda: right() + off_ns
from steptrail.producers import ProcessingStepManager, emit_only
manager = ProcessingStepManager(emit_only())
manager.add_step("doc", "ocr", "RUNNING")
if between == "known":
    assert manager.flush(60) == 0
manager.add_step("doc", "ocr", "SUCCESS", details={"pages": 3})
assert manager.flush(60) == 0
print(manager.storage.emitter_id.hex())
manager.close(10)
"""


def retry(settings: Settings, off_s: float, between: str) -> str:
    """A worker, with a clock that is off by so much, does the step of the document; its emitter's id."""
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, str(off_s), between],
        env=environ_of(settings),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout.strip()


@pytest.mark.parametrize(
    ("off_s", "between"),
    only_some(
        (-90.0, "known"), (-1.5, "before it knows"), (3600.0, "before it knows"),
        rest=[(-90.0, "before it knows"), (-1.5, "known"), (3600.0, "known")],
    ),
)  # fmt: skip
def test_a_retry_counts_as_later_whatever_its_clock_says(
    workspace: Settings, off_s: float, between: str
) -> None:
    """ERROR by a right clock, then RUNNING and SUCCESS by one that is off: the step is in SUCCESS, and runs twice."""
    with projecting(workspace), connect(workspace) as clickhouse, open_storage(workspace) as storage:
        manager, reader = ProcessingStepManager(storage), Reader(clickhouse)
        manager.add_step("doc", "ocr", RUNNING)
        manager.add_step("doc", "ocr", ERROR, error_message="no answer")
        assert manager.flush(60) == 0
        before = datetime.now(timezone.utc)
        retry(workspace, off_s, between)

        def settled() -> Any:
            states = reader.document_state(None, "doc")
            return next((state for state in states if state.events == 4 and state.status is SUCCESS), None)

        state = until(settled, "SUCCESS")
        after = datetime.now(timezone.utc)
        assert (state.executions, state.error_message) == (2, None)
        assert before - timedelta(seconds=1) < state.updated_at < after + timedelta(seconds=1)
        assert state.duration_ms is not None
        if between == "known":  # by the worker itself, which says so
            [ended] = manager.get_steps("doc", SUCCESS)
            assert before - timedelta(seconds=1) < ended.timestamp < after + timedelta(seconds=1)
            offset_ms = ended.details["_steptrail"]["timestamp"]["clock_offset_ms"]
            assert offset_ms == pytest.approx(-off_s * 1000, abs=1000)
            assert ended.details["pages"] == 3


def test_a_clock_that_is_right_changes_nothing(workspace: Settings) -> None:
    """Times are as measured, nothing is marked, and the emitter says how well it knows."""
    with projecting(workspace), open_storage(workspace) as storage:
        manager = ProcessingStepManager(storage)
        began = datetime.now(timezone.utc)
        for _ in range(3):
            manager.add_step("doc", "ocr", SUCCESS)
            assert manager.flush(60) == 0
        assert manager.wait_projected(60)
        assert [step.details for step in manager.get_steps("doc")] == [{}, {}, {}]
        assert all(began <= step.timestamp <= datetime.now(timezone.utc) for step in manager.get_steps("doc"))
        with connect(workspace) as clickhouse:
            sql = (
                "SELECT clock_offset_ms, clock_uncertainty_ms FROM emitters WHERE clock_offset_ms IS NOT NULL"
            )
            [(offset_ms, uncertainty_ms)] = until(lambda: clickhouse.query(sql), "report")
        assert abs(offset_ms) <= uncertainty_ms + 2  # it is the broker's very clock


def test_clocks_are_shown_and_warned_of(
    workspace: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`steptrail emitters` has each emitter with its numbers and its clock, and health names the one that is off."""
    for name, value in environ_of(workspace).items():
        monkeypatch.setenv(name, value)
    with projecting(workspace), connect(workspace) as clickhouse:
        assert run(["emitters"]) == NO
        capsys.readouterr()
        right, wrong = retry(workspace, 0, "known"), retry(workspace, -90, "known")
        sql = "SELECT count() FROM emitters WHERE closed AND missing = 0"
        until(lambda: clickhouse.query(sql)[0][0] == 2, "reports")
        assert run(["emitters", "--json"]) == OK
        told = {each["emitter_id"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
        assert told.keys() == {right, wrong}
        for each in told.values():
            assert (each["accepted"], each["delivered"], each["failed"], each["dropped"]) == (2, 2, 0, 0)
            assert each["state"] == "closed"
        assert told[wrong]["clock_offset_ms"] == pytest.approx(90_000, abs=1000)
        assert 0 < told[wrong]["clock_uncertainty_ms"] < 1000
        assert told[wrong]["clock_off"] is True
        assert told[right]["clock_off"] is False
        assert run(["emitters"]) == OK
        shown = " ".join(capsys.readouterr().out.split())
        assert re.search(r"\b(1 m 30|1 m 29) s behind ± \d", shown), shown
        assert re.search(r"\b(right|\S+ ms (behind|ahead)) ± \d", shown), shown
        assert run(["emitters", "--off", "--json"]) == OK
        assert [json.loads(line)["emitter_id"] for line in capsys.readouterr().out.splitlines()] == [wrong]
    with HealthCheckManager(workspace) as manager:
        check = manager.perform_health_check()
        [finding] = [each for each in check.findings if each.rule == "clock"]
        assert finding.status is HealthStatus.WARNING
        assert re.search(r"is (89|90)\.\d s behind the brokers'", finding.sentence), finding.sentence
        assert [
            each for each in manager.perform_health_check("another").findings if each.rule == "clock"
        ] == []
