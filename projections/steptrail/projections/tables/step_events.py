"""The projection of step events: into `steps`, `step_executions` and `emitter_sequences`.

What every projection of step events needs, the stage's columns, the checks and the expressions over them, is public.
"""

from __future__ import annotations

from functools import partial

from steptrail.projections.delivery.erased import Erasable
from steptrail.projections.delivery.event_checks import checks_of, message_size
from steptrail.projections.delivery.spec import ProjectionSpec, ResentOnce, Target
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA

# Raw columns hold what was sent, and are checked; a UUID is computed from them once, for every table. Its
# halves are stored least significant byte first, hence the reversals.
STAGE_COLUMNS = """
    event_id FixedString(16), pipeline String, doc_id String, step_name String, execution_id FixedString(16),
    attempt Int64, status Int64, timestamp Int64, duration_ms Nullable(Float64),
    error_type Nullable(String), error_message Nullable(String), details String, metrics String,
    depends_on String, trace_id Nullable(String), worker String, emitter_id FixedString(8), sequence Int64,
    event_uuid     UUID MATERIALIZED reinterpretAsUUID(
        concat(reverse(substring(event_id, 1, 8)), reverse(substring(event_id, 9, 8)))),
    execution_uuid UUID MATERIALIZED reinterpretAsUUID(
        concat(reverse(substring(execution_id, 1, 8)), reverse(substring(execution_id, 9, 8))))
"""

CHECKS = checks_of(STEP_EVENT_SCHEMA)
SIZE = partial(message_size, STEP_EVENT_SCHEMA)

TIMESTAMP = "fromUnixTimestamp64Micro(timestamp, 'UTC')"
BROKER_TIME = "fromUnixTimestamp64Milli(broker_ms, 'UTC')"
_EVENT_TIME = f"least({TIMESTAMP}, toDateTime64({BROKER_TIME}, 6, 'UTC'))"
STATUS = (
    "CAST(status, 'Enum8(''PENDING'' = 0, ''RUNNING'' = 1, ''SUCCESS'' = 2, ''WARNING'' = 3, "
    "''ERROR'' = 4, ''FAILED'' = 5, ''SKIPPED'' = 6)')"
)
_EMITTER = "lower(hex(emitter_id))"
ERASABLE = Erasable(_EVENT_TIME)

STEPS = Target(
    "steps",
    {
        "pipeline": "pipeline",
        "doc_id": "doc_id",
        "step_name": "step_name",
        "status": STATUS,
        "timestamp": TIMESTAMP,
        "broker_time": BROKER_TIME,
        "event_id": "event_uuid",
        "execution_id": "execution_uuid",
        "attempt": "attempt",
        "duration_ms": "duration_ms",
        "error_type": "error_type",
        "error_message": "error_message",
        "details": "details",
        "metrics": "metrics",
        "depends_on": "depends_on",
        "trace_id": "trace_id",
        "worker": "worker",
        "emitter_id": _EMITTER,
        "sequence": "sequence",
        "topic_id": "{topic_id:String}",
        "kafka_partition": "kafka_partition",
        "kafka_offset": "kafka_offset",
    },
    keeps_offsets=True,
    once_by=ResentOnce("event_uuid", "event_id", narrowed_by=("pipeline", "doc_id")),
    erasable=ERASABLE,
)

STEP_EXECUTIONS = Target(
    "step_executions",
    {
        "pipeline": "pipeline",
        "step_name": "step_name",
        "doc_id": "doc_id",
        "execution_id": "execution_uuid",
        "winner": f"(toUInt8(least(status, 2)), {_EVENT_TIME}, toUInt128(event_uuid), {STATUS})",
        "attempt": "attempt",
        "first_run": f"if(status = 1, toNullable({_EVENT_TIME}), NULL)",
        "first_any": _EVENT_TIME,
        "last_any": _EVENT_TIME,
    },
    keeps_offsets=False,
    erasable=ERASABLE,
)

EMITTER_SEQUENCES = Target(
    "emitter_sequences",
    {
        "emitter_id": _EMITTER,
        "block": "intDiv(sequence, 64) AS sequence_block",
        "seen": "groupBitOr(bitShiftLeft(toUInt64(1), bitAnd(sequence, 63)))",
        "worker": "any(worker)",
        "pipeline": "any(pipeline)",
        "first_time": "fromUnixTimestamp64Milli(min(broker_ms), 'UTC')",
        "last_time": "fromUnixTimestamp64Milli(max(broker_ms), 'UTC')",
    },
    keeps_offsets=False,
    group_by="emitter_id, sequence_block",
)

STEP_EVENTS = ProjectionSpec(
    "steps", STAGE_COLUMNS, CHECKS, (STEPS, STEP_EXECUTIONS, EMITTER_SEQUENCES), SIZE
)
