"""The projection of emitters' reports: into `emitter_reports`."""

from __future__ import annotations

from steptrail.projections.delivery.event_checks import json_check
from steptrail.projections.delivery.spec import ProjectionSpec, Target
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US

_STAGE_COLUMNS = """
    emitter_id FixedString(8), pipeline String, worker String, kind Int64, reported_at Int64, accepted Int64,
    delivered Int64, failed Int64, maybe_delivered Int64, dropped Int64, pending Int64, reasons String
"""

_COUNTS = ("accepted", "delivered", "failed", "maybe_delivered", "dropped", "pending")

_CHECKS = {
    "kind": "kind < 0 OR kind > 2",
    "reported_at": f"reported_at < {MIN_TIMESTAMP_US} OR reported_at > {MAX_TIMESTAMP_US}",
    "counts": " OR ".join(f"{name} < 0" for name in _COUNTS),
    "utf8": "NOT (isValidUTF8(pipeline) AND isValidUTF8(worker) AND isValidUTF8(reasons))",
    "reasons": json_check("reasons", "{"),
}

EMITTER_REPORTS = ProjectionSpec(
    "emitter_reports",
    _STAGE_COLUMNS,
    _CHECKS,
    (
        Target(
            "emitter_reports",
            {
                "emitter_id": "lower(hex(emitter_id))",
                "pipeline": "pipeline",
                "worker": "worker",
                "kind": "CAST(kind, 'Enum8(''STARTED'' = 0, ''RUNNING'' = 1, ''CLOSED'' = 2)')",
                "reported_at": "fromUnixTimestamp64Micro(reported_at, 'UTC')",
                **{name: name for name in _COUNTS},
                "reasons": "reasons",
                "broker_time": "fromUnixTimestamp64Milli(broker_ms, 'UTC')",
                "topic_id": "{topic_id:String}",
                "kafka_partition": "kafka_partition",
                "kafka_offset": "kafka_offset",
            },
            keeps_offsets=True,
        ),
    ),
)
