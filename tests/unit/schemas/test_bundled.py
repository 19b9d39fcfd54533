import json
import uuid
from importlib import resources
from io import BytesIO
from typing import Any

import fastavro
import pytest

from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.bundled import (
    STEP_EVENT_FINGERPRINT,
    STEP_EVENT_SCHEMA,
    fingerprint,
    plain_schema,
    released_schemas,
    schema_by_fingerprint,
)
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import split_frame

EXAMPLES = sorted(
    (
        entry
        for entry in (resources.files("steptrail.schemas") / "avro" / "examples").iterdir()
        if entry.is_file()
    ),
    key=lambda entry: entry.name,
)


def rabin(data: bytes) -> int:
    """CRC-64-AVRO bit by bit, from the polynomial that the Avro specification names."""
    polynomial = 0xC15D213AA4D7A795
    value = polynomial
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ polynomial if value & 1 else value >> 1
    return value


def test_the_fingerprint_is_that_of_the_specification() -> None:
    """Those of primitive schemas are the numbers that Avro's own test suite states for every language, signed."""
    for name, number in (
        ("null", 7195948357588979594),
        ("int", 8247732601305521295),
        ("string", -8142146995180207161),
    ):
        schema: Any = name
        assert fingerprint(schema) == (number % 2**64).to_bytes(8, "little")
        assert rabin(f'"{name}"'.encode()) == number % 2**64


def test_the_schemas_fingerprint_comes_from_its_canonical_form() -> None:
    """Documentation, defaults and logical types do not count; names, order and types do; little-endian."""
    canonical = (
        '{"name":"steptrail.StepEvent","type":"record","fields":['
        '{"name":"event_id","type":{"name":"steptrail.EventId","type":"fixed","size":16}},'
        '{"name":"pipeline","type":"string"},{"name":"doc_id","type":"string"},'
        '{"name":"step_name","type":"string"},'
        '{"name":"execution_id","type":{"name":"steptrail.ExecutionId","type":"fixed","size":16}},'
        '{"name":"attempt","type":"int"},'
        '{"name":"status","type":{"name":"steptrail.ProcessingStatus","type":"enum",'
        '"symbols":["PENDING","RUNNING","SUCCESS","WARNING","ERROR","FAILED","SKIPPED"]}},'
        '{"name":"timestamp","type":"long"},{"name":"duration_ms","type":["null","double"]},'
        '{"name":"error_type","type":["null","string"]},{"name":"error_message","type":["null","string"]},'
        '{"name":"details","type":"string"},{"name":"metrics","type":"string"},'
        '{"name":"depends_on","type":"string"},{"name":"trace_id","type":["null","string"]},'
        '{"name":"worker","type":"string"},'
        '{"name":"emitter_id","type":{"name":"steptrail.EmitterId","type":"fixed","size":8}},'
        '{"name":"sequence","type":"long"}]}'
    )
    assert rabin(canonical.encode()).to_bytes(8, "little") == STEP_EVENT_FINGERPRINT


def test_a_released_version_never_changes() -> None:
    """Messages on topics carry these fingerprints; what wrote them stays readable."""
    assert {name: fingerprint(schema).hex() for name, schema in released_schemas().items()} == {
        "step_event.v1.avsc": "5f4752d4cad89e3d"
    }
    assert {
        name: fingerprint(schema).hex() for name, schema in released_schemas("emitter_report").items()
    } == {"emitter_report.v1.avsc": "97bd0109f458a958"}
    for schema in released_schemas().values():
        assert schema_by_fingerprint(fingerprint(schema)) is not None


def test_schemas_are_found_by_fingerprint() -> None:
    """The current schema is found, an unknown fingerprint is None."""
    assert schema_by_fingerprint(STEP_EVENT_FINGERPRINT) is STEP_EVENT_SCHEMA
    assert schema_by_fingerprint(bytes(8)) is None


def test_every_field_says_what_it_is() -> None:
    """Each field, and the record, has a doc."""
    assert STEP_EVENT_SCHEMA["doc"]
    assert [field["name"] for field in STEP_EVENT_SCHEMA["fields"] if not field.get("doc")] == []


def test_the_statuses_are_those_of_the_model() -> None:
    """The enum's symbols are the statuses, in the order of their codes."""
    (status,) = (field for field in STEP_EVENT_SCHEMA["fields"] if field["name"] == "status")
    assert status["type"]["symbols"] == [each.name for each in ProcessingStatus]


def test_the_plain_schema_reads_the_same_bytes() -> None:
    """Under the plain schema an event's bytes give the same values, the status as its number."""
    plain = plain_schema(STEP_EVENT_SCHEMA)
    assert "enum" not in json.dumps(plain)
    assert "logicalType" not in json.dumps(plain)
    message = bytes.fromhex(load("success.json")["message"])
    found = fastavro.schemaless_reader(BytesIO(message[10:]), plain, None)
    assert isinstance(found, dict)
    assert found["status"] == ProcessingStatus.SUCCESS.code
    assert found["timestamp"] == load("success.json")["event"]["timestamp"]
    assert list(found) == [field["name"] for field in STEP_EVENT_SCHEMA["fields"]]


def load(name: str) -> dict[str, Any]:
    (entry,) = (entry for entry in EXAMPLES if entry.name == name)
    found: dict[str, Any] = json.loads(entry.read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", [entry.name for entry in EXAMPLES])
def test_examples_are_what_they_say(name: str) -> None:
    """Each example's message decodes to its event, by us and by fastavro, and the event encodes to it again."""
    example = load(name)
    message = bytes.fromhex(example["message"])
    frame = split_frame(message)
    assert frame.fingerprint == STEP_EVENT_FINGERPRINT
    event = decode_event(message[frame.length :])
    said = {
        field: value.hex() if isinstance(value, bytes) else value
        for field, value in ((field, getattr(event, field)) for field in event.__dataclass_fields__)
    }
    assert said == example["event"]
    assert encode_event(event) == message[frame.length :]
    assert uuid.UUID(bytes=event.event_id).version == 7
    other = fastavro.schemaless_reader(BytesIO(message[frame.length :]), STEP_EVENT_SCHEMA, None)
    assert isinstance(other, dict)
    assert other["details"] == example["event"]["details"]
