"""The view stuck_work: what hangs or waits, with its state in words."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas import ProcessingStatus, Settings
from support.projecting import projecting

RUNNING, SUCCESS, PENDING = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS, ProcessingStatus.PENDING
STALL = """
INSERT INTO observations (observation_id, what, pipeline, doc_id, step_name, execution_id, number, status, started_at,
    deadline_s, watermark, decided_by, sentence, evidence, broker_time, topic_id, kafka_partition, kafka_offset)
SELECT generateUUIDv4(), 'STALLED', pipeline, doc_id, step_name, execution_id, 1, status, updated_at, 60, now64(6),
    'test', concat('it hangs: ', doc_id), '{}', now64(3), 't', 0, 0
FROM step_state WHERE doc_id IN ('stalled', 'forgotten', 'ended')
"""


def stuck(clickhouse: ClickHouse) -> list[tuple[object, ...]]:
    columns = "doc_id, state, status, round(seconds / 60), deadline_s, stalled_at IS NOT NULL, says"
    return clickhouse.query(f"SELECT {columns} FROM stuck_work ORDER BY doc_id")


def test_each_state_is_said_in_words(workspace: Settings) -> None:
    """Stalls that stand, and what is open for more than ten minutes; nothing that ended or has just begun."""
    with projecting(workspace), connect(workspace) as clickhouse, open_storage(workspace) as storage:
        manager = ProcessingStepManager(storage)
        long_ago = datetime.now(timezone.utc) - timedelta(hours=2)
        manager.add_step("long running", "ocr", RUNNING, timestamp=long_ago)
        manager.add_step("long queued", "ocr", PENDING, timestamp=long_ago)
        manager.add_step("just begun", "ocr", RUNNING)
        manager.add_step("just queued", "ocr", PENDING)
        manager.add_step("done", "ocr", RUNNING, timestamp=long_ago)
        manager.add_step("done", "ocr", SUCCESS)
        manager.add_step("stalled", "ocr", RUNNING)
        manager.add_step("ended", "ocr", RUNNING)
        manager.add_step("forgotten", "ocr", PENDING)
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
        clickhouse.command(STALL)
        manager.add_step("ended", "ocr", SUCCESS)
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
        assert stuck(clickhouse) == [
            ("forgotten", "NOT PICKED UP", "PENDING", 0.0, 60.0, 1, "it hangs: forgotten"),
            (
                "long queued",
                "LONG QUEUED",
                "PENDING",
                120.0,
                None,
                0,
                "queued 2 hours ago and not begun, no deadline passed",
            ),
            (
                "long running",
                "LONG RUNNING",
                "RUNNING",
                120.0,
                None,
                0,
                "started 2 hours ago and not ended, no deadline passed",
            ),
            ("stalled", "STALLED", "RUNNING", 0.0, 60.0, 1, "it hangs: stalled"),
        ]
