"""An emitter's report and its encoding. It is rare, so an Avro library encodes it."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, cast

import fastavro

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US
from steptrail.schemas.values.json_text import json_fault
from steptrail.schemas.wire.bundled import EMITTER_REPORT_FINGERPRINT, EMITTER_REPORT_SCHEMA, plain_schema
from steptrail.schemas.wire.framing import single_object_prefix

EMITTER_REPORT_PREFIX = single_object_prefix(EMITTER_REPORT_FINGERPRINT)
"""The 10 bytes before each report."""


class ReportKind(str, Enum):
    """Why a report was sent."""

    STARTED = "STARTED"
    """The emitter took its first event."""
    RUNNING = "RUNNING"
    """Events are being lost, or were since the last report; or the clock turned out to be off."""
    CLOSED = "CLOSED"
    """The last word: the numbers are final."""


_KINDS: Final = tuple(ReportKind)
_PLAIN: Final = fastavro.parse_schema(plain_schema(EMITTER_REPORT_SCHEMA))


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
    """Encode a report as a framed message."""
    out = io.BytesIO()
    out.write(EMITTER_REPORT_PREFIX)
    fastavro.schemaless_writer(out, EMITTER_REPORT_SCHEMA, {**asdict(report), "kind": report.kind.value})
    return out.getvalue()


def decode_report(value: bytes) -> EmitterReport:
    """Decode a framed message.

    Strict, since the bytes are untrusted: all are consumed, and encoding the report must reproduce them.
    Raises EventDecodeError.
    """
    if not value.startswith(EMITTER_REPORT_PREFIX):
        raise EventDecodeError(
            DecodeReason.UNKNOWN_SCHEMA, "the message is not framed as an emitter's report", position=0
        )
    try:
        body = io.BytesIO(value[len(EMITTER_REPORT_PREFIX) :])
        fields = cast("dict[str, Any]", fastavro.schemaless_reader(body, _PLAIN, None))
        report = EmitterReport(**{**fields, "kind": _KINDS[fields["kind"]]})
        again = encode_report(report)
    except Exception as error:  # whatever the decoder raises
        raise EventDecodeError(
            DecodeReason.BAD_VALUE, f"the message is no emitter's report: {type(error).__name__}"
        ) from None
    if again != value:
        raise EventDecodeError(
            DecodeReason.NOT_CANONICAL, "the message is longer than its report, or encoded oddly"
        )
    counts = (
        report.accepted,
        report.delivered,
        report.failed,
        report.maybe_delivered,
        report.dropped,
        report.pending,
    )
    if min(counts) < 0:
        raise EventDecodeError(DecodeReason.BAD_VALUE, "the report has a negative count")
    if fault := json_fault(report.reasons.encode(), "{"):
        raise EventDecodeError(DecodeReason.BAD_JSON, fault, field="reasons")
    if not MIN_TIMESTAMP_US <= report.reported_at <= MAX_TIMESTAMP_US:
        raise EventDecodeError(DecodeReason.BAD_TIMESTAMP, "the report is of a time that no store can hold")
    return report
