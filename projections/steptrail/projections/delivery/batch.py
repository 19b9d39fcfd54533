"""A batch of Kafka records as bytes: what is staged, and which offsets it covers.

Avro's binary encoding of a record is the plain concatenation of its fields, so a message's value, with 29
bytes of ours behind it, is a record of a wider schema, and a list of them is the inside of an Avro block: a
batch is wrapped without decoding anything.

    value (frame + body)  |  guard 8  |  partition int32  |  offset int64  |  broker time int64 (ms)  |  resent

The guard is random for each batch. A body that is too short or too long, or that holds two records, moves
what the engine reads as the guard, and validation sees it: nobody can put a number into a message that is
drawn after the message was written. The frame at the front is checked too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from steptrail.projections.delivery.avro_block import WriterSchema, bundled_writer_schemas, container
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.limits import MAX_BROKER_TIME_MS, MAX_EVENT_BYTES
from steptrail.schemas.wire.framing import split_frame

_TRAILER = struct.Struct("<8siqqB")
_PLACE = struct.Struct("<iq")
_PLACE_OF_TRAILER = slice(8, 8 + _PLACE.size)
_PARTITION = struct.Struct("<i")
_PARTITION_OF_TRAILER = slice(8, 8 + _PARTITION.size)
TRAILER_BYTES = _TRAILER.size
FEW_ROWS = 100


@dataclass(slots=True)
class Span:
    """The contiguous offsets of one partition that a batch covers.

    `rows` of them are staged; the others are holes in the log (transaction markers, compaction) or dead letters.
    """

    first: int
    last: int
    rows: int = 0
    offset_sum: int = 0


@dataclass(slots=True)
class Run:
    """The records of a batch that one writer schema wrote: value, trailer, value, trailer, …"""

    schema: WriterSchema
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def rows(self) -> int:
        """How many records."""
        return len(self.parts) // 2

    def files(self, most_rows: int) -> Iterator[bytes]:
        """Avro object container files of the run, of `most_rows` records at most, for `INSERT … FORMAT Avro`."""
        if self.rows <= most_rows:
            yield container(self.schema, self.rows, self.size, self.parts)
            return
        for begin in range(0, len(self.parts), 2 * most_rows):
            parts = self.parts[begin : begin + 2 * most_rows]
            yield container(self.schema, len(parts) // 2, sum(map(len, parts)), parts)

    def numbers_of(self, places: Collection[tuple[int, int]]) -> list[int]:
        """The indexes of the records at these places (partition and offset), in order."""
        packed = {_PLACE.pack(*place) for place in places}
        trailers = enumerate(self.parts[1::2])
        return [number for number, trailer in trailers if trailer[_PLACE_OF_TRAILER] in packed]

    def without(self, numbers: Sequence[int]) -> Run:
        """The same but for the records of these numbers, which are in ascending order."""
        left = Run(self.schema, size=self.size)
        begin = 0
        for number in numbers:
            left.parts += self.parts[begin : 2 * number]
            begin = 2 * number + 2
            left.size -= len(self.parts[begin - 2]) + TRAILER_BYTES
        left.parts += self.parts[begin:]
        return left


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one topic, with the offsets they cover, by partition. Written as a whole or not at all.

    `resent` of its records were sent again on purpose, and may be of events that are projected already.
    `checked`: each record was decoded strictly, so that the store needs not check their values again.
    """

    guard: bytes
    runs: tuple[Run, ...]
    spans: dict[int, Span]
    rows: int
    size: int
    first_time_ms: int
    last_time_ms: int
    resent: int = 0
    checked: bool = False

    @property
    def partitions(self) -> list[int]:
        """The partitions it covers, in order."""
        return sorted(self.spans)

    @property
    def settings(self) -> dict[str, Any]:
        """ClickHouse's settings for the statements that write it: for few rows threads cost more than they save."""
        return {"max_threads": 1, "max_insert_threads": 1} if self.rows <= FEW_ROWS else {}

    def without(self, places: Collection[tuple[int, int]]) -> Batch:
        """The same batch but for the records at these places, partition and offset; it covers their offsets still.

        Much faster than building it again.
        """
        spans = {partition: replace(span) for partition, span in self.spans.items()}
        runs = []
        size, resent, removed = self.size, self.resent, 0
        for run in self.runs:
            numbers = run.numbers_of(places)
            for number in numbers:
                value, trailer = run.parts[2 * number], run.parts[2 * number + 1]
                _, partition, offset, _, again = _TRAILER.unpack(trailer)
                spans[partition].rows -= 1
                spans[partition].offset_sum -= offset
                size -= len(value)
                resent -= again
            removed += len(numbers)
            if len(numbers) < run.rows:
                runs.append(run.without(numbers))
        return replace(
            self, runs=tuple(runs), spans=spans, rows=self.rows - removed, size=size, resent=resent
        )

    def divided(self, group_of: Callable[[int], int]) -> dict[int, Batch]:
        """By group of partitions, the batch of those; `group_of` maps a partition to its group. Copies no record."""
        spans: dict[int, dict[int, Span]] = {}
        for partition, span in self.spans.items():
            spans.setdefault(group_of(partition), {})[partition] = span
        if len(spans) == 1:
            return dict.fromkeys(spans, self)
        runs: dict[int, list[Run]] = {group: [] for group in spans}
        resent = dict.fromkeys(spans, 0)
        for run in self.runs:
            pieces = {group: Run(run.schema) for group in spans}
            of_partition = {_PARTITION.pack(part): pieces[group_of(part)] for part in self.spans}
            parts = run.parts
            for number in range(0, len(parts), 2):
                value, trailer = parts[number], parts[number + 1]
                piece = of_partition[trailer[_PARTITION_OF_TRAILER]]
                piece.parts += (value, trailer)
                piece.size += len(value) + TRAILER_BYTES
            for group, piece in pieces.items():
                if piece.parts:
                    runs[group].append(piece)
                    if self.resent:
                        resent[group] += sum(trailer[-1] for trailer in piece.parts[1::2])
        return {
            group: replace(
                self,
                runs=tuple(runs[group]),
                spans=mine,
                rows=sum(span.rows for span in mine.values()),
                size=sum(run.size - run.rows * TRAILER_BYTES for run in runs[group]),
                resent=resent[group],
            )
            for group, mine in spans.items()
        }


class BatchBuilder:
    """Collects records into a `Batch`.

    `schemas` maps the frame that begins a value to its writer schema; by default the bundled ones.
    """

    def __init__(self, schemas: Mapping[bytes, WriterSchema] | None = None) -> None:
        self._schemas = bundled_writer_schemas() if schemas is None else schemas
        self._lengths = sorted({len(frame) for frame in self._schemas}, reverse=True)
        self._guard = os.urandom(8)
        self._runs: dict[bytes, Run] = {}
        self._frame = b""  # of the latest record; nearly always that of the next one too
        self._run: Run | None = None
        self._partition = -1
        self._span = Span(0, 0)
        self.spans: dict[int, Span] = {}
        self.rows = 0
        self.size = 0
        self.resent = 0
        self._first_time_ms = 0
        self._last_time_ms = 0

    def add(
        self, partition: int, offset: int, broker_time_ms: int, value: bytes | None, resent: bool = False
    ) -> None:
        """Take in one record; offsets of a partition must come in ascending order.

        `resent` says that the record carries the header of one that was sent again.

        Raises EventDecodeError and adds nothing for a value that no known frame begins, that is empty or
        that is longer than an event may be. The caller then calls `skip`.
        """
        if not value:
            raise EventDecodeError(DecodeReason.EMPTY, "the message has no value")
        length = len(value)
        if length > MAX_EVENT_BYTES:
            split_frame(value)  # which knows how much of it is the frame
        if not 0 <= broker_time_ms <= MAX_BROKER_TIME_MS:
            broker_time_ms = min(max(broker_time_ms, 0), MAX_BROKER_TIME_MS)
        run = self._run
        if run is None or not value.startswith(self._frame):
            run = self._run_for(value)
        if partition != self._partition:
            self._turn_to(partition, offset)
        span = self._span
        span.last = offset
        span.rows += 1
        span.offset_sum += offset
        run.parts += (value, _TRAILER.pack(self._guard, partition, offset, broker_time_ms, resent))
        run.size += length + TRAILER_BYTES
        self.size += length
        if not self.rows or broker_time_ms < self._first_time_ms:
            self._first_time_ms = broker_time_ms
        if broker_time_ms > self._last_time_ms:
            self._last_time_ms = broker_time_ms
        self.rows += 1
        self.resent += resent

    def skip(self, partition: int, offset: int) -> None:
        """Cover an offset without a record: it was dead-lettered, or is a hole."""
        self._turn_to(partition, offset)
        self._span.last = offset

    def build(self) -> Batch:
        """The batch. The builder must not be used afterwards."""
        return Batch(
            self._guard,
            tuple(self._runs.values()),
            self.spans,
            self.rows,
            self.size,
            self._first_time_ms,
            self._last_time_ms,
            self.resent,
        )

    def _turn_to(self, partition: int, offset: int) -> None:
        self._partition = partition
        span = self.spans.get(partition)
        if span is None:
            span = self.spans[partition] = Span(offset, offset)
        self._span = span

    def _run_for(self, value: bytes) -> Run:
        for length in self._lengths:
            schema = self._schemas.get(value[:length])
            if schema is not None:
                self._frame = value[:length]
                break
        else:
            raise unknown_frame(value)
        run = self._runs.get(self._frame)
        if run is None:
            run = self._runs[self._frame] = Run(schema)
        self._run = run
        return run


def unknown_frame(value: bytes) -> EventDecodeError:
    """Why no schema was found for `value`; raises instead when what begins it is no frame at all."""
    frame = split_frame(value)
    if frame.fingerprint is not None:
        why = f"no bundled schema has fingerprint {frame.fingerprint.hex()}"
    else:
        why = f"the message names schema {frame.schema_id} of a schema registry, and none is configured"
    return EventDecodeError(DecodeReason.UNKNOWN_SCHEMA, why, position=0)
