from __future__ import annotations

import copy
from io import BytesIO
from typing import Any

import fastavro
import pytest

from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.prefilter import suspects
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.schemas.errors import DecodeReason, EventDecodeError, InfrastructureError
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, fingerprint
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import single_object_prefix, split_frame
from support.consumed import event, message
from support.newer import NEWER, newer_value


def published(*schemas: dict[str, Any]) -> dict[bytes, dict[str, Any]]:
    return {fingerprint(schema): schema for schema in schemas}


def test_an_event_of_a_newer_schema_is_read_once_its_schema_is_published() -> None:
    """What it has beyond ours is left out; what is wrong with it is found as ever."""
    schemas = WriterSchemas(None, lambda: published(NEWER))
    wanted = event()
    value = newer_value(wanted, region="eu")
    frame = split_frame(value)
    assert decode_event(value[frame.length :], schemas.schema_of(frame)) == wanted
    assert suspects([value, value[:-1], newer_value(event(attempt=0))], schemas.by_frame) == [1, 2]
    fault = fault_of(message(0, 0, newer_value(wanted, region="e") + b"\0"), schemas)
    assert fault is not None
    assert fault.reason is DecodeReason.TRAILING_BYTES
    builder = schemas.new_builder()
    builder.add(0, 0, 1, value)
    [run] = builder.build().runs
    assert "region" not in run.schema.columns
    assert not run.schema.whole
    [file] = run.files(10)
    [record] = fastavro.reader(BytesIO(file))
    assert isinstance(record, dict)
    assert record["region"] == "eu"


def test_what_was_published_is_looked_up_once_a_minute() -> None:
    """However many unknown fingerprints there are; what is published meanwhile is known then."""
    now, lookups, there = 100.0, 0, published()

    def look_up() -> dict[bytes, dict[str, Any]]:
        nonlocal lookups
        lookups += 1
        return there

    schemas = WriterSchemas(None, look_up, clock=lambda: now)
    strange = [message(0, n, b"\xc3\x01" + bytes([n]) * 8 + b"x") for n in range(100)]
    newer = message(0, 100, newer_value())
    assert {str(fault.reason) for m in [*strange, newer] if (fault := fault_of(m, schemas))} == {
        "UNKNOWN_SCHEMA"
    }
    assert lookups == 1
    there = published(NEWER)
    assert fault_of(newer, schemas) is not None
    now += 60
    assert fault_of(newer, schemas) is None
    assert lookups == 2


def test_what_is_sent_again_is_looked_up_again() -> None:
    """Whoever redrives has published the schema a moment ago."""
    now, there = 100.0, published()
    schemas = WriterSchemas(None, lambda: there, clock=lambda: now)
    frame = split_frame(newer_value())
    with pytest.raises(EventDecodeError):
        schemas.learn(frame)
    there = published(NEWER)
    now += 2
    with pytest.raises(EventDecodeError):
        schemas.learn(frame)
    schemas.learn(frame, resent=True)
    assert schemas.known(frame) == NEWER


def test_a_schema_that_cannot_be_read_is_told_with_its_reason() -> None:
    """It grew by a field that older readers have no null for."""
    other = copy.deepcopy(NEWER)
    other["fields"][-1] = {"name": "region", "type": "string"}
    schemas = WriterSchemas(None, lambda: published(other))
    value = single_object_prefix(fingerprint(other)) + newer_value()[10:]
    fault = fault_of(message(0, 0, value), schemas)
    assert fault is not None
    assert fault.reason is DecodeReason.UNKNOWN_SCHEMA
    assert "field region is no nullable scalar" in fault.message


def test_when_the_schemas_cannot_be_looked_up_the_events_are_set_aside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They wait in the dead-letter topic, which stops nothing."""

    def away() -> dict[bytes, dict[str, Any]]:
        raise InfrastructureError("no answer")

    fault = fault_of(message(0, 0, newer_value()), WriterSchemas(None, away))
    assert fault is not None
    assert fault.reason is DecodeReason.UNKNOWN_SCHEMA
    assert "no answer" in caplog.text


def test_the_newer_schema_of_these_tests_is_another() -> None:
    """Else they would show nothing."""
    assert fingerprint(NEWER) != fingerprint(STEP_EVENT_SCHEMA)
