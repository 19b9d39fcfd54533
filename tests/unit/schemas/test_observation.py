"""Observations: what is encoded is read again, and nothing else is."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from check_schemas import faults
from steptrail.schemas import EventDecodeError, ProcessingStatus
from steptrail.schemas.observation import (
    Observed,
    StepObservation,
    decode_observation,
    encode_observation,
    observation_id,
    what_is,
)
from steptrail.schemas.wire.bundled import OBSERVATION_SCHEMA, fingerprint, released_schemas

EXECUTION = bytes(range(16))
STALLED = StepObservation(
    observation_id=observation_id(EXECUTION, 1),
    what=Observed.STALLED,
    pipeline="invoices",
    doc_id="ä.pdf",
    step_name="ocr",
    execution_id=EXECUTION,
    number=1,
    retracts=None,
    status=ProcessingStatus.RUNNING,
    started_at=1_760_000_000_000_000,
    deadline_s=600.0,
    watermark=1_760_000_700_000_000,
    decided_by="steptrail-health/host:1",
    sentence="started 700 s ago and has not ended; deadline 600 s",
    evidence='{"waited_s":700}',
)
RETRACTED = replace(
    STALLED,
    observation_id=observation_id(EXECUTION, 2),
    what=Observed.RETRACTED,
    number=2,
    retracts=STALLED.observation_id,
    status=ProcessingStatus.SUCCESS,
    deadline_s=None,
    evidence="{}",
)
EXAMPLES = sorted(
    (resources.files("steptrail.schemas") / "avro" / "examples" / "observations").iterdir(),
    key=lambda entry: entry.name,
)


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("observation", [STALLED, RETRACTED], ids=str)
def test_is_read_again(observation: StepObservation) -> None:
    """Every kind of observation survives its encoding."""
    assert decode_observation(encode_observation(observation)) == observation


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.name)
def test_examples_are_what_they_say(entry: Any) -> None:
    """Each example's message decodes to its observation, which encodes to it again."""
    example = json.loads(entry.read_text("utf-8"))
    message = bytes.fromhex(example["message"])
    found = decode_observation(message)
    assert {name: _shown(getattr(found, name)) for name in found.__dataclass_fields__} == example[
        "observation"
    ]
    assert encode_observation(found) == message


def test_there_is_an_example_of_each() -> None:
    """STALLED and RETRACTED."""
    assert [entry.name for entry in EXAMPLES] == ["retracted.json", "stalled.json"]


def test_the_same_decision_has_the_same_id_whoever_makes_it() -> None:
    """An id follows from the execution and the number alone, is a UUIDv8, and no other's."""
    ids = [
        observation_id(execution, number) for execution in (EXECUTION, bytes(16)) for number in range(1, 9)
    ]
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(bytes=each).version, uuid.UUID(bytes=each).variant) for each in ids} == {
        (8, uuid.RFC_4122)
    }
    assert ids[0].hex() == "ed91921d219485b69f66b38171aa0610"  # it is on topics: never to change
    assert [what_is(number).value for number in (1, 2, 3)] == ["STALLED", "RETRACTED", "STALLED"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"hello, world",
        encode_observation(STALLED)[:-1],
        encode_observation(STALLED) + b"\0",
        encode_observation(STALLED)[:10],
        encode_observation(STALLED).replace(b"invoices", b"invoic\xff\xfe"),
        encode_observation(replace(STALLED, evidence="[]")),
        encode_observation(replace(STALLED, evidence="{")),
        encode_observation(replace(STALLED, evidence=" {}")),
        encode_observation(replace(STALLED, evidence='{"a":' * 257 + "1" + "}" * 257)),
        encode_observation(
            replace(STALLED, number=2**31 + 1, observation_id=observation_id(EXECUTION, 2**31 + 1))
        ),
        encode_observation(replace(STALLED, number=0)),
        encode_observation(replace(STALLED, number=2)),
        encode_observation(replace(STALLED, number=3)),
        encode_observation(replace(STALLED, what=Observed.RETRACTED)),
        encode_observation(replace(STALLED, observation_id=bytes(16))),
        encode_observation(replace(STALLED, retracts=STALLED.observation_id)),
        encode_observation(replace(STALLED, deadline_s=None)),
        encode_observation(replace(STALLED, deadline_s=0.0)),
        encode_observation(replace(STALLED, deadline_s=float("nan"))),
        encode_observation(replace(STALLED, deadline_s=float("inf"))),
        encode_observation(replace(STALLED, started_at=2**62)),
        encode_observation(replace(STALLED, watermark=-(2**62))),
        encode_observation(replace(RETRACTED, retracts=None)),
        encode_observation(replace(RETRACTED, retracts=bytes(16))),
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    """What is no observation, contradicts itself, or could not be stored raises EventDecodeError, nothing else."""
    with pytest.raises(EventDecodeError):
        decode_observation(value)


def test_the_schema_is_released_and_documented() -> None:
    """It is compatible with every released version, whose fingerprints never change; every field has its doc."""
    released = released_schemas("observation")
    assert {name: fingerprint(schema).hex() for name, schema in released.items()} == {
        "observation.v1.avsc": "cd0ea6240129c867"
    }
    assert faults(OBSERVATION_SCHEMA, released) == []
