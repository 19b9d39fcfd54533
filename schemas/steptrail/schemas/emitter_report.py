"""What an emitter says of itself, as a model and as bytes. Rare, so a library encodes it."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from enum import Enum

import fastavro

from .bundled import EMITTER_REPORT_FINGERPRINT, EMITTER_REPORT_SCHEMA
from .framing import single_object_prefix

EMITTER_REPORT_PREFIX = single_object_prefix(EMITTER_REPORT_FINGERPRINT)
"""The 10 bytes before each report."""


class ReportKind(str, Enum):
    """Why a report was sent."""

    STARTED = "STARTED"
    """The emitter took its first event."""
    RUNNING = "RUNNING"
    """Events are being lost, or were since the last report."""
    CLOSED = "CLOSED"
    """The last word: the numbers are final."""


@dataclass(frozen=True, slots=True)
class EmitterReport:
    """The fields of `emitter_report.avsc`, in its order; `reported_at` in microseconds since 1970, UTC."""

    emitter_id: bytes
    pipeline: str
    worker: str
    kind: ReportKind
    reported_at: int
    accepted: int
    delivered: int
    failed: int
    maybe_delivered: int
    dropped: int
    pending: int
    reasons: str


def encode_report(report: EmitterReport) -> bytes:
    """The framed message of a report."""
    out = io.BytesIO()
    out.write(EMITTER_REPORT_PREFIX)
    fastavro.schemaless_writer(out, EMITTER_REPORT_SCHEMA, {**asdict(report), "kind": report.kind.value})
    return out.getvalue()
