"""What the fault matrix and the benchmark call poison is poison, and of the kinds that are meant."""

from __future__ import annotations

import pytest

from faults.poisoning import KINDS, make
from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.prefilter import suspects
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from support.consumed import message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 17, 300_000])
def test_every_kind_is_refused(kind: str, number: int) -> None:
    """By the strict decoder and by the quick look."""
    value = make(kind, number)
    assert fault_of(message(0, 0, value), WriterSchemas()) is not None
    assert suspects([value]) == [0]


def test_there_is_a_kind_for_every_reason() -> None:
    """But for what is too long, of which a hundred would be a benchmark of the network."""
    faults = {kind: fault_of(message(0, 0, make(kind, 1)), WriterSchemas()) for kind in KINDS}
    assert {str(fault.reason) for fault in faults.values() if fault is not None} == {
        *("EMPTY", "BAD_FRAME", "UNKNOWN_SCHEMA", "TRUNCATED", "TRAILING_BYTES", "NOT_CANONICAL"),
        *("BAD_UTF8", "BAD_JSON", "BAD_STATUS", "BAD_TIMESTAMP", "BAD_VALUE"),
    }
