"""Kinds of messages that are no events, made with fastavro from one that is. Each for its own reason.

Among them are those that one parser takes and another does not: numbers spelled too long, JSON that nests deeper than
some parsers go, whole numbers that are infinite to some.

`python -m faults.poisoning`: puts them on the steps topic. FAULTS_WORKER: count, rate (a second).
"""

from __future__ import annotations

import copy
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
from confluent_kafka import Message, Producer

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA

KEY = b"poison/"


def is_poison(message: Message) -> bool:
    """Whether a message was made here."""
    key = message.key()
    return isinstance(key, bytes) and key.startswith(KEY)


def make(kind: str, number: int) -> bytes:
    """The value of poison `number` of a kind."""
    return KINDS[kind](number)


def _loose_schema() -> Any:
    """Our schema with the status as a plain int, so that any can be written."""
    schema = copy.deepcopy(STEP_EVENT_SCHEMA)
    for field in schema["fields"]:
        kind = field["type"]
        if isinstance(kind, dict):
            field["type"] = "int" if kind["type"] == "enum" else kind
            if isinstance(field["type"], dict):
                field["type"].pop("logicalType", None)
        if isinstance(field["type"], dict) and field["type"]["type"] == "long":
            field["type"] = "long"
    return fastavro.parse_schema(schema)


_SCHEMA = _loose_schema()


def _value(number: int, **changed: Any) -> bytes:
    event: dict[str, Any] = {
        "event_id": number.to_bytes(16, "big"),
        "pipeline": "poison",
        "doc_id": f"doc {number}",
        "step_name": "ocr",
        "execution_id": number.to_bytes(16, "big"),
        "attempt": 1,
        "status": 2,
        "timestamp": 1_760_000_000_000_000 + number,
        "duration_ms": 12.5,
        "error_type": None,
        "error_message": None,
        "details": f'{{"number":{number}}}',
        "metrics": "{}",
        "depends_on": "[]",
        "trace_id": None,
        "worker": "poison:1",
        "emitter_id": b"poisoner",
        "sequence": number,
    }
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _SCHEMA, {**event, **changed})
    from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX

    return SINGLE_OBJECT_PREFIX + body.getvalue()


def _bad_utf8(number: int) -> bytes:
    return _value(number, doc_id=f"doc {number:06d} XYZ").replace(b" XYZ", b" \xff\xfe\x80")


def _last(number: int, spelled: bytes) -> bytes:
    """An event whose last field, its sequence, is spelled so."""
    return _value(number, sequence=0)[:-1] + spelled


def _worker(number: int, spelled: bytes) -> bytes:
    """An event whose worker is spelled so, its length included."""
    return _value(number, worker="poison:1").replace(b"\x10poison:1", spelled)


def _nested(depth: int, leaf: str) -> str:
    return '{"a":' * depth + leaf + "}" * depth


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "empty": lambda number: b"",
    "no_frame": lambda number: b"hello, this is no event %d" % number,
    "unknown_schema": lambda number: b"\xc3\x01" + b"\x13\x37" * 4 + _value(number)[10:],
    "cut_off": lambda number: _value(number)[: -7 - number % 20],
    "trailing": lambda number: _value(number) + b"\x00",
    "two_in_one": lambda number: _value(number) + _value(number + 1)[10:],
    "bad_utf8": _bad_utf8,
    "bad_status": lambda number: _value(number, status=7 + number % 100),
    "bad_timestamp": lambda number: _value(number, timestamp=2**62 + number),
    "bad_json": lambda number: _value(number, details='{"number":'),
    "json_of_another_kind": lambda number: _value(number, metrics="[1]"),
    "json_behind_a_space": lambda number: _value(number, metrics=" {}"),
    "json_behind_a_mark": lambda number: _value(number, details="\ufeff{}"),
    "json_with_a_surrogate": lambda number: _value(number, details='{"a":"\\ud800"}'),
    "json_with_a_control": lambda number: _value(number, depends_on='["a\x00b"]'),
    "json_infinite": lambda number: _value(number, metrics='{"a":1e999}'),
    "json_long_number": lambda number: _value(number, metrics='{"a":%s}' % ("9" * 400)),
    "json_deep": lambda number: _value(number, details=_nested(300, "{}")),
    "json_deeper_for_the_store": lambda number: _value(number, details=_nested(1024, "1")),
    "json_deepest": lambda number: _value(number, details=_nested(3000, "1")),
    "no_attempt": lambda number: _value(number, attempt=0),
    "attempt_of_40_bits": lambda number: _value(number, attempt=1 << 40),
    "status_of_40_bits": lambda number: _value(number, status=1 << 40),
    "early_timestamp": lambda number: _value(number, timestamp=-(2**62)),
    "negative_sequence": lambda number: _value(number, sequence=-1 - number),
    "sequence_of_63_bits": lambda number: _value(number, sequence=2**63 - 1),
    "sequence_of_70_bits": lambda number: _last(number, b"\x80" * 9 + b"\x02"),
    "number_too_long": lambda number: _last(number, b"\x82\x00"),
    "number_without_end": lambda number: _last(number, b"\x80" * 12),
    "no_duration": lambda number: _value(number, duration_ms=float("nan")),
    "endless_duration": lambda number: _value(number, duration_ms=float("inf")),
    "no_such_branch": lambda number: _value(number).replace(
        b"\x00" + b"\x10poison:1", b"\x04" + b"\x10poison:1"
    ),
    "negative_length": lambda number: _worker(number, b"\x0f"),
    "endless_length": lambda number: _worker(number, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    "encoded_surrogate": lambda number: _worker(number, b"\x06\xed\xa0\x80"),
}


def main() -> int:
    """Put them on the topic, each kind in turn, at a steady rate."""
    plan = json.loads(os.environ["FAULTS_WORKER"])
    settings = Settings()
    topic = Topics.from_settings(settings).steps.name
    producer = Producer({**settings.kafka_config(), "linger.ms": 20, "log_level": 0})
    failed: list[Any] = []
    began = time.monotonic()
    kinds = list(KINDS)
    for number in range(plan["count"]):
        kind = kinds[number % len(kinds)]
        producer.produce(
            topic,
            value=make(kind, number),
            key=KEY + b"%s/%d" % (kind.encode(), number),
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        producer.poll(0)
        while plan.get("rate") and number >= (time.monotonic() - began) * plan["rate"]:
            producer.poll(0.01)
    left = producer.flush(60)
    return 1 if left or failed else 0


if __name__ == "__main__":
    sys.exit(main())
