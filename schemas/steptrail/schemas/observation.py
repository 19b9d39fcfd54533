"""A consumer's observation of an execution and its encoding. It is rare, so an Avro library encodes it."""

from __future__ import annotations

import hashlib
import io
import math
import uuid
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, cast

import fastavro

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US
from steptrail.schemas.status import STATUS_BY_CODE, ProcessingStatus
from steptrail.schemas.values.json_text import json_fault
from steptrail.schemas.wire.bundled import OBSERVATION_FINGERPRINT, OBSERVATION_SCHEMA, plain_schema
from steptrail.schemas.wire.framing import single_object_prefix

OBSERVATION_PREFIX = single_object_prefix(OBSERVATION_FINGERPRINT)
"""The 10 bytes before each observation."""


class Observed(str, Enum):
    """What a consumer found out about an execution."""

    STALLED = "STALLED"
    """It was started and is past its deadline."""
    RETRACTED = "RETRACTED"
    """It is not stalled after all: an ending, or a later execution, arrived."""

    def __str__(self) -> str:
        return self.value


_WHAT: Final = tuple(Observed)
_PLAIN: Final = fastavro.parse_schema(plain_schema(OBSERVATION_SCHEMA))


@dataclass(frozen=True, slots=True)
class StepObservation:
    """The fields of `observation.avsc`, in its order.

    Ids are 16 bytes; `started_at` and `watermark` microseconds since 1970, UTC, by the broker's clock;
    `evidence` is the text of a JSON object.
    """

    observation_id: bytes
    what: Observed
    pipeline: str
    doc_id: str
    step_name: str
    execution_id: bytes
    number: int
    retracts: bytes | None
    status: ProcessingStatus
    started_at: int
    deadline_s: float | None
    watermark: int
    decided_by: str
    sentence: str
    evidence: str


def what_is(number: int) -> Observed:
    """The status of an execution's observation with this number (from 1): they alternate."""
    return Observed.STALLED if number % 2 else Observed.RETRACTED


def observation_id(execution_id: bytes, number: int) -> bytes:
    """The id of an execution's observation with this number, a UUIDv8.

    It depends on nothing else, so that a decision repeated by any member is the same observation.
    """
    digest = hashlib.sha256(b"%s %s %d" % (execution_id, what_is(number).value.encode(), number)).digest()
    bits = int.from_bytes(digest[:16], "big")
    bits = bits & ~(0xF << 76) | 8 << 76
    return (bits & ~(3 << 62) | 2 << 62).to_bytes(16, "big")


def encode_observation(observation: StepObservation) -> bytes:
    """Encode an observation as a framed message."""
    out = io.BytesIO()
    out.write(OBSERVATION_PREFIX)
    fields = {**asdict(observation), "what": observation.what.value, "status": observation.status.value}
    fastavro.schemaless_writer(out, OBSERVATION_SCHEMA, fields)
    return out.getvalue()


def decode_observation(value: bytes) -> StepObservation:
    """Decode a framed message.

    Strict, since the bytes are untrusted: all are consumed, encoding the observation must reproduce them, and its
    number, id and status must agree. Raises EventDecodeError.
    """
    if not value.startswith(OBSERVATION_PREFIX):
        raise EventDecodeError(
            DecodeReason.UNKNOWN_SCHEMA, "the message is not framed as an observation", position=0
        )
    try:
        body = io.BytesIO(value[len(OBSERVATION_PREFIX) :])
        fields = cast("dict[str, Any]", fastavro.schemaless_reader(body, _PLAIN, None))
        kinds = {"what": _WHAT[fields["what"]], "status": STATUS_BY_CODE[fields["status"]]}
        observation = StepObservation(**{**fields, **kinds})
        again = encode_observation(observation)
    except Exception as error:  # whatever the decoder raises
        raise EventDecodeError(
            DecodeReason.BAD_VALUE, f"the message is no observation: {type(error).__name__}"
        ) from None
    if again != value:
        raise EventDecodeError(
            DecodeReason.NOT_CANONICAL, "the message is longer than its observation, or encoded oddly"
        )
    if fault := json_fault(observation.evidence.encode(), "{"):
        raise EventDecodeError(DecodeReason.BAD_JSON, fault, field="evidence")
    _check(observation)
    return observation


def _check(observation: StepObservation) -> None:
    number, execution_id = observation.number, observation.execution_id
    if not 1 <= number < 2**31 or observation.what is not what_is(number):
        raise EventDecodeError(
            DecodeReason.BAD_VALUE, "observations count from 1, the odd ones STALLED", field="number"
        )
    if observation.observation_id != observation_id(execution_id, number):
        raise EventDecodeError(
            DecodeReason.BAD_VALUE,
            f"observation {number} of execution {uuid.UUID(bytes=execution_id)} has another id",
            field="observation_id",
        )
    stalled = observation.what is Observed.STALLED
    if observation.retracts != (None if stalled else observation_id(execution_id, number - 1)):
        raise EventDecodeError(
            DecodeReason.BAD_VALUE, "only what is RETRACTED names the one before it", field="retracts"
        )
    deadline = observation.deadline_s
    if stalled if deadline is None else not (math.isfinite(deadline) and deadline > 0):
        raise EventDecodeError(
            DecodeReason.BAD_VALUE, "what is STALLED has a deadline above 0 s", field="deadline_s"
        )
    for name, moment in (("started_at", observation.started_at), ("watermark", observation.watermark)):
        if not MIN_TIMESTAMP_US <= moment <= MAX_TIMESTAMP_US:
            raise EventDecodeError(DecodeReason.BAD_TIMESTAMP, "a time that no store can hold", field=name)
