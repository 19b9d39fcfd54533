"""The projection of step events for the health consumer: into `health_events`, each event once, and narrow."""

from __future__ import annotations

from typing import Final

from steptrail.projections.delivery.spec import EventOnce, ProjectionSpec, Target
from steptrail.projections.tables.step_events import (
    BROKER_TIME,
    CHECKS,
    ERASABLE,
    SIZE,
    STAGE_COLUMNS,
    STATUS,
    TIMESTAMP,
)

LONGEST_MESSAGE: Final = 4096
"""Bytes of an error message that are kept: what tells errors apart stands at the beginning."""

# A character that the cut goes through becomes U+FFFD.
_MESSAGE = (
    f"if(length(error_message) <= {LONGEST_MESSAGE}, error_message, "
    f"toValidUTF8(substring(error_message, 1, {LONGEST_MESSAGE - 3})))"
)

HEALTH_EVENTS = ProjectionSpec(
    "health",
    STAGE_COLUMNS,
    CHECKS,
    (
        Target(
            "health_events",
            {
                "pipeline": "pipeline",
                "step_name": "step_name",
                "doc_id": "doc_id",
                "status": STATUS,
                "timestamp": TIMESTAMP,
                "broker_time": BROKER_TIME,
                "event_id": "event_uuid",
                "execution_id": "execution_uuid",
                "attempt": "attempt",
                "duration_ms": "duration_ms",
                "error_type": "error_type",
                "error_message": _MESSAGE,
                "metrics": "metrics",
                "worker": "worker",
                "topic_id": "{topic_id:String}",
                "kafka_partition": "kafka_partition",
                "kafka_offset": "kafka_offset",
            },
            keeps_offsets=True,
            once_by=EventOnce(
                ("toUInt128(execution_uuid)", "toUInt128(event_uuid)"),
                ("toUInt128(execution_id)", "toUInt128(event_id)"),
            ),
            erasable=ERASABLE,
        ),
    ),
    SIZE,
)
