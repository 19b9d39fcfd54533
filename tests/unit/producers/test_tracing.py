from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

from steptrail.producers import InMemoryStorage, ProcessingStepManager
from steptrail.schemas import ProcessingStatus


def test_the_active_trace_is_attached(caplog: pytest.LogCaptureFixture) -> None:
    """Within a span every step has its trace id, in the event and in the log; outside there is none."""
    storage = InMemoryStorage()
    manager = ProcessingStepManager(storage)
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        expected = f"{span.get_span_context().trace_id:032x}"
        manager.add_step("d", "ocr", "ERROR")
        with manager.step("d", "parse"):
            pass
    manager.add_step("d", "outside", "SUCCESS")
    assert [event.trace_id for event in storage.events()] == [expected] * 3 + [None]
    assert [step.metadata.get("trace_id") for step in manager.get_steps("d")] == [expected] * 3 + [None]
    assert caplog.records[0].__dict__["trace_id"] == expected


def test_a_given_trace_wins() -> None:
    """A trace id that the caller gives is taken."""
    storage = InMemoryStorage()
    storage.emit(doc_id="d", step_name="s", status=ProcessingStatus.SUCCESS, trace_id="ab" * 16)
    assert next(storage.events()).trace_id == "ab" * 16


def test_opentelemetry_is_never_imported_by_us() -> None:
    """Recording steps imports neither OpenTelemetry nor anything of ClickHouse."""
    code = (
        "import sys\n"
        "from steptrail.producers import InMemoryStorage, ProcessingStepManager\n"
        "ProcessingStepManager(InMemoryStorage()).add_step('d', 's', 'ERROR')\n"
        "heavy = ('opentelemetry', 'clickhouse_connect', 'chdb', 'typer', 'rich', 'prometheus_client')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert ran.stdout.strip() == "[]"
