"""The contract: Avro schemas, models, codec and topics that every part shares."""

from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget
from steptrail.schemas.configuration.settings import Settings, default_dir, read_stack_file
from steptrail.schemas.configuration.stack_file import StackAddresses
from steptrail.schemas.errors import (
    ConfigurationError,
    DataError,
    DecodeReason,
    EventDecodeError,
    InfrastructureError,
    SteptrailError,
)
from steptrail.schemas.event import MAX_EVENT_BYTES, StepEvent
from steptrail.schemas.ids import new_execution_id, uuid7
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ObservedError, ObservedStep, ProcessingStep, RecentError
from steptrail.schemas.topics import TopicChange, Topics, TopicSpec, ensure_topics, message_key, partition_for
from steptrail.schemas.wire.bundled import (
    STEP_EVENT_FINGERPRINT,
    STEP_EVENT_SCHEMA,
    plain_schema,
    schema_by_fingerprint,
)
from steptrail.schemas.wire.codec import EventEncoder, encode_event
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import (
    SINGLE_OBJECT_PREFIX,
    Frame,
    frame_confluent,
    frame_single_object,
    split_frame,
)

__all__ = [
    "MAX_EVENT_BYTES",
    "SINGLE_OBJECT_PREFIX",
    "STEP_EVENT_FINGERPRINT",
    "STEP_EVENT_SCHEMA",
    "ClickHouseTarget",
    "ConfigurationError",
    "DataError",
    "DecodeReason",
    "EventDecodeError",
    "EventEncoder",
    "Frame",
    "InfrastructureError",
    "ObservedError",
    "ObservedStep",
    "ProcessingStatus",
    "ProcessingStep",
    "RecentError",
    "Settings",
    "StackAddresses",
    "StepEvent",
    "SteptrailError",
    "TopicChange",
    "TopicSpec",
    "Topics",
    "decode_event",
    "default_dir",
    "encode_event",
    "ensure_topics",
    "frame_confluent",
    "frame_single_object",
    "message_key",
    "new_execution_id",
    "partition_for",
    "plain_schema",
    "read_stack_file",
    "schema_by_fingerprint",
    "split_frame",
    "uuid7",
]
