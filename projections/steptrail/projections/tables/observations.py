"""The projection of consumers' observations: into `observations`."""

from __future__ import annotations

from steptrail.projections.delivery.erased import Erasable
from steptrail.projections.delivery.event_checks import json_check
from steptrail.projections.delivery.spec import ProjectionSpec, Target
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US

_STAGE_COLUMNS = """
    observation_id FixedString(16), what Int64, pipeline String, doc_id String, step_name String,
    execution_id FixedString(16), number Int64, retracts Nullable(FixedString(16)), status Int64, started_at Int64,
    deadline_s Nullable(Float64), watermark Int64, decided_by String, sentence String, evidence String
"""

_TEXTS = ("pipeline", "doc_id", "step_name", "decided_by", "sentence", "evidence")

_CHECKS = {
    "what": "what < 0 OR what > 1",
    "number": "number < 1",
    "status": "status < 0 OR status > 6",
    "times": " OR ".join(
        f"{name} < {MIN_TIMESTAMP_US} OR {name} > {MAX_TIMESTAMP_US}" for name in ("started_at", "watermark")
    ),
    "deadline_s": "NOT isFinite(ifNull(deadline_s, 0))",
    "utf8": f"NOT ({' AND '.join(f'isValidUTF8({name})' for name in _TEXTS)})",
    "evidence": json_check("evidence", "{"),
}


def _uuid(column: str) -> str:
    """A UUID of 16 bytes in network order: its halves are stored least significant byte first."""
    return (
        f"reinterpretAsUUID(concat(reverse(substring({column}, 1, 8)), reverse(substring({column}, 9, 8))))"
    )


OBSERVATIONS = ProjectionSpec(
    "observations",
    _STAGE_COLUMNS,
    _CHECKS,
    (
        Target(
            "observations",
            {
                "observation_id": _uuid("observation_id"),
                "what": "CAST(what, 'Enum8(''STALLED'' = 0, ''RETRACTED'' = 1)')",
                "pipeline": "pipeline",
                "doc_id": "doc_id",
                "step_name": "step_name",
                "execution_id": _uuid("execution_id"),
                "number": "number",
                "retracts": f"if(isNull(retracts), NULL, {_uuid('assumeNotNull(retracts)')})",
                "status": "CAST(status, 'Enum8(''PENDING'' = 0, ''RUNNING'' = 1, ''SUCCESS'' = 2, "
                "''WARNING'' = 3, ''ERROR'' = 4, ''FAILED'' = 5, ''SKIPPED'' = 6)')",
                "started_at": "fromUnixTimestamp64Micro(started_at, 'UTC')",
                "deadline_s": "deadline_s",
                "watermark": "fromUnixTimestamp64Micro(watermark, 'UTC')",
                "decided_by": "decided_by",
                "sentence": "sentence",
                "evidence": "evidence",
                "broker_time": "fromUnixTimestamp64Milli(broker_ms, 'UTC')",
                "topic_id": "{topic_id:String}",
                "kafka_partition": "kafka_partition",
                "kafka_offset": "kafka_offset",
            },
            keeps_offsets=True,
            # What is observed of an execution that began before its document was erased is erased with it.
            erasable=Erasable("fromUnixTimestamp64Micro(started_at, 'UTC')"),
        ),
    ),
)
"""The topic of observations as what is projected into `observations`."""
