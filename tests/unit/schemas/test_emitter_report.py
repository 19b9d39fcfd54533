"""Reports of emitters: what is encoded is read again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steptrail.schemas import EventDecodeError
from steptrail.schemas.emitter_report import EmitterReport, ReportKind, decode_report, encode_report

REPORT = EmitterReport(
    emitter_id=b"emitter1",
    pipeline="invoices",
    worker="host:1",
    kind=ReportKind.RUNNING,
    reported_at=1_760_000_000_000_000,
    accepted=100,
    delivered=70,
    failed=20,
    maybe_delivered=5,
    dropped=7,
    pending=3,
    reasons='{"failed":{"timed_out":5,"closed":15},"dropped":{"queue_full":7}}',
)


@pytest.mark.parametrize("kind", list(ReportKind))
def test_is_read_again(kind: ReportKind) -> None:
    """Every kind of report survives its encoding."""
    report = replace(REPORT, kind=kind)
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"hello, world",
        encode_report(REPORT)[:-1],
        encode_report(REPORT) + b"\0",
        encode_report(REPORT)[:10],
        encode_report(REPORT).replace(b"invoices", b"invoic\xff\xfe"),
        encode_report(replace(REPORT, dropped=-1)),
        encode_report(replace(REPORT, reasons="[]")),
        encode_report(replace(REPORT, reasons="{")),
        encode_report(replace(REPORT, reasons=" {}")),
        encode_report(replace(REPORT, reasons='{"a":NaN}')),
        encode_report(replace(REPORT, reasons='{"a":"\\ud800"}')),
        encode_report(replace(REPORT, reasons='{"a":' * 257 + "1" + "}" * 257)),
        encode_report(replace(REPORT, reasons='{"a":%s}' % ("9" * 309))),
        encode_report(replace(REPORT, reported_at=2**62)),
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    """What is no report, or one that the store could not hold, raises EventDecodeError and nothing else."""
    with pytest.raises(EventDecodeError):
        decode_report(value)
