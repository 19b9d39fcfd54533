"""Who was told what: every delivery report that librdkafka gives in a process, written down before steptrail sees it.

Installed before steptrail is imported, so that the emitter's producer is one that keeps this record. It is
independent of the emitter's own counts, and durable: a record is one write, which outlives the process.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import confluent_kafka

RECORD = struct.Struct("<iq8s")
"""Partition, offset, the first eight bytes of the value's MD5."""


def digest_of(value: bytes) -> bytes:
    """What identifies a record's bytes."""
    return md5(value, usedforsecurity=False).digest()[:8]


def install(path: Path) -> None:
    """From now on every Producer of this process, and of its forks, writes to `path` what becomes of steps."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    confluent_kafka.Producer = _witnessed(descriptor)  # type: ignore[misc]


def read(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Partition, offset and digest of every acknowledged record; a torn last one is left out."""
    data = path.read_bytes() if path.exists() else b""
    return RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])


def _witnessed(descriptor: int) -> type[confluent_kafka.Producer]:
    write, pack = os.write, RECORD.pack

    class Witnessed(confluent_kafka.Producer):  # type: ignore[misc, unused-ignore]
        def produce(self, topic: str, *given: Any, **named: Any) -> None:
            arguments = list(given)
            report: Callable[..., None] | None
            if len(arguments) > 3:
                report = arguments[3]
            else:
                report = named.pop("on_delivery", None) or named.pop("callback", None)

            def told(error: Any, message: Any) -> None:
                if error is None and message.topic().endswith(".steps.v1"):
                    write(descriptor, pack(message.partition(), message.offset(), digest_of(message.value())))
                if report is not None:
                    report(error, message)

            if len(arguments) > 3:
                arguments[3] = told
            else:
                named["on_delivery"] = told
            super().produce(topic, *arguments, **named)

    return Witnessed
