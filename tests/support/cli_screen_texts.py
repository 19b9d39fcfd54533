"""Names, times and errors of a day in an invoice pipeline, for the screens that tests compare."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import UUID

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=timezone.utc)
ID = UUID("018f2c3e-7d1b-7c3a-9b1e-2f6d8c4a1b00")

SCAN = "tenant-0042/2026/05/04/scan_000000018273645.pdf"
URL = "https://archive.example.com/documents/2026/05/04/c0ffee00-7d1b-7c3a-9b1e-2f6d8c4a1b00/original.pdf?part=3"
CJK = "請求書/2026年5月/第0042号.pdf"
PDF_ERROR = (
    "pdfium: cannot open page 3 of 17: the cross-reference table is damaged at byte 183,204 and rebuilding it from "
    "the objects found only 12 of the 17 pages that the document catalog names"
)
TRACE = (
    "Traceback (most recent call last):\n"
    '  File "ocr.py", line 42, in read\n'
    '    raise ValueError("blank")\n'
    "ValueError: blank"
)
TEMPLATE = "pdfium: cannot open page <num> of <num>: the cross-reference table is damaged at byte <num>"
SENTENCE = "21 of the last 64 executions failed (33 %), where 2 % is usual; by chance: 1 in 10,000,000"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)
