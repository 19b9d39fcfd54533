"""A manager that is pickled into other processes, and faults that groups tell apart, on real Kafka and ClickHouse."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
from datetime import datetime, timedelta, timezone

from steptrail.producers import ProcessingStepManager
from steptrail.projections.storage import open_storage
from steptrail.schemas.configuration.settings import Settings
from support.projecting import projecting

LONG = 60.0


def work(manager: ProcessingStepManager, doc_id: str) -> int:
    """A task: records a step by the manager that it was given."""
    with manager.step(doc_id, "work"):
        pass
    return manager.flush(LONG)


def test_what_other_processes_record_is_read_here(workspace: Settings) -> None:
    """Steps recorded by a manager that arrived in spawned processes are delivered, and read by the one who sent it."""
    manager = ProcessingStepManager(open_storage(workspace))
    context = multiprocessing.get_context("spawn")
    with projecting(workspace):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            done = [pool.submit(work, manager, f"doc {number}") for number in range(8)]
            assert [future.result(LONG * 2) for future in done] == [0] * 8
        # Our own event after theirs says when all is projected, a partition each.
        for number in range(8):
            manager.add_step(f"doc {number}", "end", "SUCCESS")
        assert manager.flush(LONG) == 0
        assert manager.wait_projected(LONG)
        for number in range(8):
            found = [step.status.value for step in manager.get_steps(f"doc {number}")]
            assert found == ["RUNNING", "SUCCESS", "SUCCESS"]
    manager.close()


def test_groups_tell_causes_apart(workspace: Settings) -> None:
    """Errors of one type and message with different causes are groups of their own, whatever numbers they name."""
    causes = [ConnectionError("model 7 away"), ConnectionError("model 8 away"), KeyError("total")]
    with projecting(workspace), open_storage(workspace) as storage:
        manager = ProcessingStepManager(storage)
        for number, cause in enumerate(causes):
            with contextlib.suppress(RuntimeError), manager.step(f"doc {number}", "embed"):
                raise RuntimeError("embedding failed") from cause
        assert manager.wait_projected(LONG)
        groups = storage.get_recent_error_groups(datetime.now(timezone.utc) - timedelta(hours=1))
        found = {(group.error_type, group.template, group.count) for group in groups}
    assert found == {
        ("RuntimeError", "embedding failed (caused by ConnectionError: model <num> away)", 2),
        ("RuntimeError", "embedding failed (caused by KeyError: <str>)", 1),
    }
