"""The projection of dead letters: into `dead_letters`, one row for each message of the dead-letter topic.

A dead letter is a message as it was, with what is wrong in its headers; neither is a record that the engine could
decode. So whoever reads the topic writes each letter as a small record of this module's schema first. Dead
letters are few: that they pass through Python one by one is no matter. The message's own bytes stay in Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import fastavro

from steptrail.projections.delivery.avro_block import WriterSchema, writer_schema
from steptrail.projections.delivery.erased import Erasable
from steptrail.projections.delivery.spec import ProjectionSpec, Target
from steptrail.schemas.wire.bundled import fingerprint
from steptrail.schemas.wire.framing import single_object_prefix

_NULLABLE_STRING: Final = ["null", "string"]

DEAD_LETTER_SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "DeadLetter",
    "namespace": "steptrail",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "source_topic_id", "type": "string"},
        {"name": "source_partition", "type": "int"},
        {"name": "source_offset", "type": "long"},
        {"name": "source_ms", "type": "long"},
        {"name": "reason", "type": "string"},
        {"name": "explanation", "type": "string"},
        {"name": "stage", "type": "string"},
        {"name": "exception_class", "type": "string"},
        {"name": "position", "type": ["null", "long"]},
        {"name": "field", "type": _NULLABLE_STRING},
        {"name": "pipeline", "type": "string"},
        {"name": "doc_id", "type": "string"},
        {"name": "step_name", "type": "string"},
        {"name": "event_id", "type": ["null", "string"]},
        {"name": "value_bytes", "type": "long"},
        {"name": "times_resent", "type": "int"},
        {"name": "consumer", "type": "string"},
    ],
}

_FRAME: Final = single_object_prefix(fingerprint(DEAD_LETTER_SCHEMA))
_PARSED: Final = fastavro.parse_schema(DEAD_LETTER_SCHEMA)


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A row of the table; the comments on the columns, in its migration, explain them.

    `event_id` is a UUID's text, `source_ms` milliseconds since the epoch.
    """

    topic: str
    source_topic_id: str
    source_partition: int
    source_offset: int
    source_ms: int
    reason: str
    explanation: str = ""
    stage: str = ""
    exception_class: str = ""
    position: int | None = None
    field: str | None = None
    pipeline: str = ""
    doc_id: str = ""
    step_name: str = ""
    event_id: str | None = None
    value_bytes: int = 0
    times_resent: int = 0
    consumer: str = ""

    def encode(self) -> bytes:
        """The row as a value for a batch of this projection."""
        out = BytesIO()
        fastavro.schemaless_writer(out, _PARSED, {name: getattr(self, name) for name in self.__slots__})
        return _FRAME + out.getvalue()


def dead_letter_schemas() -> Mapping[bytes, WriterSchema]:
    """The schema of encoded rows, by their frame, as a batch's builder wants it."""
    return {_FRAME: writer_schema(_FRAME, DEAD_LETTER_SCHEMA)}


_STAGE_COLUMNS = """
    topic String, source_topic_id String, source_partition Int64, source_offset Int64, source_ms Int64,
    reason String, explanation String, stage String, exception_class String, position Nullable(Int64),
    field Nullable(String), pipeline String, doc_id String, step_name String, event_id Nullable(String),
    value_bytes Int64, times_resent Int64, consumer String
"""

_AS_THEY_ARE = (
    *("topic", "source_topic_id", "source_partition", "source_offset", "reason", "explanation", "stage"),
    *(
        "exception_class",
        "position",
        "field",
        "pipeline",
        "doc_id",
        "step_name",
        "value_bytes",
        "times_resent",
    ),
    "consumer",
)

DEAD_LETTERS: Final = ProjectionSpec(
    "dead_letters",
    _STAGE_COLUMNS,
    {},
    (
        Target(
            "dead_letters",
            {
                **{name: name for name in _AS_THEY_ARE},
                "source_time": "fromUnixTimestamp64Milli(source_ms, 'UTC')",
                "event_id": "toUUIDOrNull(event_id)",
                "broker_time": "fromUnixTimestamp64Milli(broker_ms, 'UTC')",
                "topic_id": "{topic_id:String}",
                "kafka_partition": "kafka_partition",
                "kafka_offset": "kafka_offset",
            },
            keeps_offsets=True,
            erasable=Erasable("fromUnixTimestamp64Milli(source_ms, 'UTC')"),
        ),
    ),
)
