from __future__ import annotations

import pytest

from steptrail.consumers.dlq.explain import HexRow, explain, hex_rows, hex_text, shown
from steptrail.consumers.dlq.letter import UNTOLD, read_letter
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.projections.tables.dead_letters import DEAD_LETTER_SCHEMA, dead_letter_schemas
from steptrail.schemas.wire.framing import frame_confluent
from support.consumed import TIME_MS, event_value, message

NAMES = [
    *("event_id", "pipeline", "doc_id", "step_name", "execution_id", "attempt", "status", "timestamp"),
    *("duration_ms", "error_type", "error_message", "details", "metrics", "depends_on", "trace_id", "worker"),
    *("emitter_id", "sequence"),
]


def test_an_event_is_read_to_its_end() -> None:
    """Every field with its bytes, one behind the other, and no fault."""
    value = event_value(doc_id="invoice-17")
    found = explain(value, WriterSchemas())
    assert found.fault is None
    assert [field.name for field in found.fields] == NAMES
    assert found.fields[0].start == 10
    assert found.fields[-1].end == len(value)
    for one, other in zip(found.fields, found.fields[1:], strict=False):
        assert one.end == other.start
    texts = {field.name: shown(field) for field in found.fields}
    assert texts["doc_id"] == "invoice-17"
    assert texts["status"] == "SUCCESS"
    assert texts["timestamp"] == "2025-10-09T08:53:20Z"
    assert len(texts["event_id"]) == 36


def test_a_message_that_was_cut_says_where() -> None:
    """The fields before the cut, and the byte that is missing; never an error of ours."""
    whole = event_value()
    for length in range(1, len(whole)):
        found = explain(whole[:length], WriterSchemas())
        assert found.fault is not None
        assert found.fault.position == length or length < 10
        assert [field.name for field in found.fields] == NAMES[: len(found.fields)]


def test_a_value_that_may_not_be_is_the_fault() -> None:
    """What stands before it is told, the field itself is named."""
    value = event_value(attempt=0)
    found = explain(value, WriterSchemas())
    assert found.fault is not None
    assert found.fault.field == "attempt"
    assert found.fault.position == found.fields[-1].end
    assert [field.name for field in found.fields] == NAMES[:5]


def test_an_unknown_schema_is_guessed_and_said_so() -> None:
    """Fields are read as this version writes them; the fault stays the schema."""
    found = explain(frame_confluent(7, event_value()[10:]), WriterSchemas())
    assert found.guessed
    assert found.fault is not None
    assert str(found.fault.reason) == "UNKNOWN_SCHEMA"
    assert [field.name for field in found.fields] == NAMES
    assert found.fields[0].start == 5


def test_no_frame_no_fields() -> None:
    """Of junk nothing is read."""
    found = explain(b"hello", WriterSchemas())
    assert (found.frame, found.fields) == (None, ())
    assert explain(None, WriterSchemas()).fault is not None


def test_the_failing_byte_is_marked() -> None:
    """In brackets among its neighbours, with the characters beside."""
    text = hex_text(list(hex_rows(b"0123456789abcdefXYZ", 17)))
    assert text.splitlines() == [
        "00000000  " + "".join(f" {byte:02x} " for byte in b"0123456789abcdef") + "  0123456789abcdef",
        "00000010   58 [59] 5a " + "    " * 13 + "  XYZ",
    ]


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32])
def test_a_missing_byte_is_marked_behind_the_last(length: int) -> None:
    """As what should be there, in the row where one looks for it."""
    rows = list(hex_rows(bytes(length), length))
    last = rows[-1]
    assert isinstance(last, HexRow)
    assert last.marked == len(last.data)
    assert hex_text(rows).count("[--]") == 1


def test_long_values_are_shown_around_the_fault() -> None:
    """The start, and the rows around it; how much is left out between is said."""
    rows = list(hex_rows(bytes(100_000), 50_000, around=2))
    offsets = [row.offset for row in rows if isinstance(row, HexRow)]
    assert offsets == [0, 16, 49968, 49984, 50000, 50016, 50032]
    assert [row for row in rows if isinstance(row, int)] == [49936, 49952]
    assert sum(row if isinstance(row, int) else len(row.data) for row in rows) == 100_000
    assert len(list(hex_rows(bytes(100_000), 50_000, around=None))) == 6250
    assert list(hex_rows(b"", None)) == [HexRow(0, b"", None)]


def headers(**told: str) -> list[tuple[str, str | bytes | None]]:
    names = {"connect_": "__connect.errors.", "steptrail_": "steptrail."}
    pairs: list[tuple[str, str | bytes | None]] = []
    for key, value in told.items():
        prefix = next((p for p in names if key.startswith(p)), "")
        name = names.get(prefix, "") + key.removeprefix(prefix).replace("__", ".")
        pairs.append((name, value.encode()))
    return pairs


def test_a_letter_says_what_its_headers_say() -> None:
    """Place, reason, time; the message's own headers are kept apart."""
    told = headers(
        mine="1",
        connect_topic="steps",
        connect_partition="4",
        connect_offset="99",
        connect_connector__name="group",
        connect_task__id="7",
        steptrail_reason="TRUNCATED",
        steptrail_position="61",
        steptrail_field="details",
        steptrail_broker_time_ms="1760000000123",
        steptrail_topic_id="an-id",
        steptrail_resent="2",
    )
    letter = read_letter(message(0, 5, event_value(doc_id="d")[:-3], headers=told), WriterSchemas())
    row = letter.row
    assert (letter.partition, letter.offset) == (0, 5)
    assert (row.topic, row.source_topic_id, row.source_partition, row.source_offset) == (
        "steps",
        "an-id",
        4,
        99,
    )
    assert (row.reason, row.position, row.field, row.source_ms) == (
        "TRUNCATED",
        61,
        "details",
        1_760_000_000_123,
    )
    assert (row.times_resent, row.consumer, row.doc_id) == (2, "group/7", "d")
    assert letter.own_headers == [("mine", b"1")]


@pytest.mark.parametrize(
    "told",
    [
        headers(),
        headers(connect_partition="x", connect_offset="y"),
        headers(connect_partition="99999999999", connect_offset="1"),
        headers(connect_partition="1", connect_offset="9" * 400),
        [("__connect.errors.partition", b"\xff\xfe"), ("steptrail.reason", b"\xff" * 10_000)],
        [("steptrail.broker_time_ms", b"-5"), ("steptrail.position", b""), ("steptrail.resent", b"x")],
        [("steptrail.broker_time_ms", b"9" * 18), ("steptrail.reason", None)],
    ],
)
@pytest.mark.parametrize("value", [None, b"", b"\0", b"junk", event_value(pipeline="p" * 900)[:900]])
def test_any_message_becomes_a_row(told: list[tuple[str, str | bytes | None]], value: bytes | None) -> None:
    """Whoever put it on the topic, whatever it holds: it is encoded, and bounded."""
    letter = read_letter(message(0, 5, value, headers=told), WriterSchemas())
    encoded = letter.row.encode()
    [(frame, schema)] = dead_letter_schemas().items()
    assert encoded.startswith(frame)
    assert len(encoded) < 16_000
    assert schema.columns[1:-2] == tuple(field["name"] for field in DEAD_LETTER_SCHEMA["fields"])
    assert letter.row.source_ms <= 9_000_000_000_000
    if not told:
        assert letter.row.reason == UNTOLD
        assert (letter.row.source_partition, letter.row.source_offset) == (0, 5)
    assert message(0, 5).timestamp()[1] == TIME_MS + 5
