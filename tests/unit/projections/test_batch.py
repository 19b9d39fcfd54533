"""Batches are the records' own bytes with ours between them, and nothing is decoded to make them."""

from __future__ import annotations

import io
import struct
import uuid
from typing import Any

import fastavro
import pytest

from steptrail.projections.delivery.avro_block import writer_schema
from steptrail.projections.delivery.batch import BatchBuilder, Run
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_EVENT_BYTES, StepEvent
from steptrail.schemas.limits import MAX_BROKER_TIME_MS
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX, confluent_prefix, frame_single_object


def _event(number: int) -> StepEvent:
    return StepEvent(
        event_id=uuid.UUID(int=number).bytes,
        pipeline="invoices",
        doc_id=f"doc-{number}",
        step_name="ocr",
        execution_id=uuid.UUID(int=number * 7).bytes,
        attempt=1,
        status=ProcessingStatus.SUCCESS,
        timestamp=1_700_000_000_000_000 + number,
        duration_ms=1.5,
        error_type=None,
        error_message=None,
        details="{}",
        metrics="{}",
        depends_on="[]",
        trace_id=None,
        worker="host:1",
        emitter_id=b"\x01" * 8,
        sequence=number,
    )


def _file(run: Run) -> bytes:
    (whole,) = run.files(most_rows=1000)
    return whole


def test_a_large_run_goes_as_several_files_with_every_record_once() -> None:
    """What is split to be decoded side by side is what the whole would have been."""
    builder = BatchBuilder()
    for number in range(7):
        builder.add(0, number, 1000, frame_single_object(encode_event(_event(number))))
    (run,) = builder.build().runs
    files = [list(fastavro.reader(io.BytesIO(file))) for file in run.files(most_rows=3)]
    assert [len(records) for records in files] == [3, 3, 1]
    assert [record for records in files for record in records] == list(
        fastavro.reader(io.BytesIO(_file(run)))
    )


def test_a_run_is_an_avro_file_that_any_reader_takes() -> None:
    """The wrapped batch decodes, by another library, to the events and where they were read."""
    builder = BatchBuilder()
    for number in range(5):
        builder.add(number % 2, 10 + number, 1000 + number, frame_single_object(encode_event(_event(number))))
    batch = builder.build()
    (run,) = batch.runs
    records: list[Any] = list(fastavro.reader(io.BytesIO(_file(run))))
    assert [record["doc_id"] for record in records] == [f"doc-{n}" for n in range(5)]
    assert {record["guard"] for record in records} == {batch.guard}
    assert {record["frame"] for record in records} == {SINGLE_OBJECT_PREFIX}
    assert [struct.unpack("<iqqB", record["trailer"])[:3] for record in records] == [
        (n % 2, 10 + n, 1000 + n) for n in range(5)
    ]


def test_spans_cover_skipped_offsets_and_rows_count_only_staged_ones() -> None:
    """A dead letter's offset belongs to the batch, so that the ledger has no hole."""
    builder = BatchBuilder()
    value = frame_single_object(encode_event(_event(1)))
    builder.skip(3, 100)
    builder.add(3, 101, 5, value)
    builder.add(4, 7, 3, value)
    builder.skip(3, 102)
    batch = builder.build()
    assert batch.partitions == [3, 4]
    assert (batch.spans[3].first, batch.spans[3].last, batch.spans[3].rows) == (100, 102, 1)
    assert (batch.rows, batch.first_time_ms, batch.last_time_ms) == (2, 3, 5)


def test_a_batch_without_some_records_is_the_one_that_was_built_without_them() -> None:
    """But for the guard: the same bytes, the same spans; their offsets are covered and have no rows."""
    places = [(number % 3, 10 + number) for number in range(30)]
    values = [frame_single_object(encode_event(_event(number))) for number in range(30)]
    bad = {places[0], places[7], places[8], places[29], *(place for place in places if place[0] == 2)}
    whole, wanted = BatchBuilder(), BatchBuilder()
    for number, (place, value) in enumerate(zip(places, values, strict=True)):
        whole.add(*place, 1000 + number, value, number % 5 == 0)
        if place in bad:
            wanted.skip(*place)
        else:
            wanted.add(*place, 1000 + number, value, number % 5 == 0)
    left, right = whole.build().without(bad), wanted.build()
    assert (left.rows, left.size, left.resent) == (right.rows, right.size, right.resent)
    assert left.spans == right.spans
    assert left.runs[0].parts[::2] == right.runs[0].parts[::2]
    assert [trailer[8:] for trailer in left.runs[0].parts[1::2]] == [
        trailer[8:] for trailer in right.runs[0].parts[1::2]
    ]
    assert left.runs[0].size == right.runs[0].size
    assert whole.build().without(set(places)).runs == ()


def test_records_of_two_framings_become_two_runs_of_one_batch() -> None:
    """Each block has one writer schema, whatever mixture the topic holds."""
    confluent = confluent_prefix(7)
    schemas = {frame: writer_schema(frame, STEP_EVENT_SCHEMA) for frame in (SINGLE_OBJECT_PREFIX, confluent)}
    builder = BatchBuilder(schemas)
    body = encode_event(_event(1))
    for offset, frame in enumerate([SINGLE_OBJECT_PREFIX, confluent, SINGLE_OBJECT_PREFIX]):
        builder.add(0, offset, 1, frame + body)
    batch = builder.build()
    assert sorted(run.rows for run in batch.runs) == [1, 2]
    assert batch.rows == 3
    assert all(list(fastavro.reader(io.BytesIO(_file(run)))) for run in batch.runs)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, DecodeReason.EMPTY),
        (b"", DecodeReason.EMPTY),
        (b"{}", DecodeReason.BAD_FRAME),
        (b"\xc3\x01" + b"\x00" * 8 + b"x", DecodeReason.UNKNOWN_SCHEMA),
        (b"\x00\x00\x00\x00\x09x", DecodeReason.UNKNOWN_SCHEMA),
        (SINGLE_OBJECT_PREFIX + b"x" * (MAX_EVENT_BYTES + 1), DecodeReason.TOO_LARGE),
    ],
)
def test_what_is_no_event_by_its_frame_is_refused_alone(value: bytes | None, reason: DecodeReason) -> None:
    """A refused record leaves the builder as it was, and says why."""
    builder = BatchBuilder()
    with pytest.raises(EventDecodeError) as refused:
        builder.add(0, 1, 1, value)
    assert refused.value.reason is reason
    assert (builder.rows, builder.spans) == (0, {})


def test_times_that_no_store_holds_are_brought_within() -> None:
    """A topic that keeps its producers' times has whatever they say; one such message must not stop the rest."""
    builder = BatchBuilder()
    times = (-(2**63), -1, 1000, 2**63 - 1)
    for offset, time_ms in enumerate(times):
        builder.add(0, offset, time_ms, frame_single_object(encode_event(_event(offset))))
    batch = builder.build()
    assert (batch.first_time_ms, batch.last_time_ms) == (0, MAX_BROKER_TIME_MS)
    trailers = batch.runs[0].parts[1::2]
    assert [struct.unpack("<8siqqB", trailer)[3] for trailer in trailers] == [0, 0, 1000, MAX_BROKER_TIME_MS]


def test_the_longest_event_is_taken_whatever_its_frame() -> None:
    """The limit is that of the body, as the decoder has it."""
    frames = [SINGLE_OBJECT_PREFIX, confluent_prefix(7)]
    schemas = {frame: writer_schema(frame, STEP_EVENT_SCHEMA) for frame in frames}
    for frame in frames:
        builder = BatchBuilder(schemas)
        builder.add(0, 1, 1, frame + b"x" * MAX_EVENT_BYTES)
        with pytest.raises(EventDecodeError, match="TOO_LARGE"):
            builder.add(0, 2, 1, frame + b"x" * (MAX_EVENT_BYTES + 1))
        assert builder.rows == 1


def test_a_batch_is_divided_by_partition_without_a_change_of_any_record() -> None:
    """Each part covers its partitions' offsets, with their records, counts and sizes; of one group it is the same."""
    builder, wanted = BatchBuilder(), {0: BatchBuilder(), 1: BatchBuilder()}
    for number in range(40):
        partition, offset = number // 5 % 4, 10 + number
        value = frame_single_object(encode_event(_event(number)))
        for each in (builder, wanted[partition % 2]):
            if number % 9 == 0:
                each.skip(partition, offset)
            else:
                each.add(partition, offset, 1000 + number, value, number % 3 == 0)
    batch = builder.build()
    parts = batch.divided(lambda partition: partition % 2)
    assert batch.divided(lambda _: 7) == {7: batch}
    for group, part in parts.items():
        expected = wanted[group].build()
        assert (part.spans, part.rows, part.size, part.resent) == (
            expected.spans,
            expected.rows,
            expected.size,
            expected.resent,
        )
        [run], [other] = part.runs, expected.runs
        assert (run.size, run.parts[::2]) == (other.size, other.parts[::2])
        assert [trailer[8:] for trailer in run.parts[1::2]] == [trailer[8:] for trailer in other.parts[1::2]]
        assert part.guard == batch.guard
    assert sum(part.rows for part in parts.values()) == batch.rows
