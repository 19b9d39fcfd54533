"""A pipeline whose documents are in every state that there is, for tests of what is shown of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.stores.expected_steps import declare_expected_steps
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from support.judging import HealthProcess
from support.projecting import produce, projecting
from support.stack import Stack, new_workspace
from support.waiting import until

HOSTILE = "<script>alert(1)</script>\u202e\"'&\x1b[31m\n=1+1"


@contextmanager
def documents_in_every_state(stack: Stack) -> Iterator[Settings]:
    """A workspace with documents in every state, dead letters, and what the health consumer makes of it."""
    with new_workspace(stack, pipeline="invoices") as settings:
        health = HealthProcess(settings)
        try:
            with projecting(settings), connect(settings) as clickhouse:
                declare_expected_steps(clickhouse, "invoices", ["fetch", "ocr", "store"])
                _seed(settings)
                produce(settings, [b"no event %d" % n for n in range(3)])
                until(lambda: clickhouse.query("SELECT count() FROM dead_letters")[0][0] >= 3, "dead letters")
                until(
                    lambda: clickhouse.query("SELECT count() FROM error_group_hours")[0][0] > 0,
                    "error groups",
                )
                yield settings
        finally:
            health.close()


def _seed(settings: Settings) -> None:
    manager = ProcessingStepManager(open_storage(settings))
    for number in range(30):
        doc_id = f"scan_{number:04d}.pdf"
        manager.add_step(doc_id, "fetch", S.RUNNING)
        manager.add_step(doc_id, "fetch", S.SUCCESS, details={"bytes": number})
        manager.add_step(doc_id, "ocr", S.RUNNING)
        if number < 5:
            manager.add_step(
                doc_id, "ocr", S.ERROR, error_message=f"no answer from 10.0.3.{number} within 30 s"
            )
        elif number == 5:
            manager.add_step(doc_id, "ocr", S.ERROR, error_message="no answer from 10.0.3.5 within 30 s")
            manager.add_step(doc_id, "ocr", S.RUNNING, details={"retry_count": 1})
            manager.add_step(doc_id, "ocr", S.SUCCESS, details={"retry_count": 1, "pages": 2})
        elif number == 6:
            manager.add_step(doc_id, "ocr", S.FAILED, error_message="unsupported macro container")
        elif number == 7:
            pass  # runs
        else:
            manager.add_step(doc_id, "ocr", S.SUCCESS)
    manager.add_step("waits.pdf", "fetch", S.PENDING)
    manager.add_step(HOSTILE, "fetch", S.ERROR, error_message=HOSTILE, details={HOSTILE: HOSTILE})
    assert manager.flush(60) == 0
    assert manager.wait_projected(60)
