"""The topic, record by record, against what was acknowledged and what stands in the tables.

A part is some of its partitions. Parts know nothing of each other, so that a long topic is read by several processes: a
document, hence an event however often it was sent, is in one partition.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message

from faults import canonical, topic, witness
from faults.corpus import planned
from faults.folding import Folding
from faults.verdict import Verdict
from faults.witness import digest_of
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas.configuration.settings import Settings

RESENT = "steptrail.resent"
_PROCESSES = 2
_WORTH_IT = 500_000  # records; starting a process takes as long as reading a hundred thousand


@dataclass(frozen=True)
class Task:
    """What is to be compared: the topic of `settings` and its tables, with what workers recorded in `folder`.

    `ends` are the offsets after the last record, by partition; `issued` how many events each worker meant to send.
    For one in `one_in` documents states are folded, and payloads compared with what was issued. Events of `impatient`
    workers may stand on the topic twice.
    """

    settings: Settings
    topic: str
    folder: Path
    ends: Mapping[int, int]
    issued: Mapping[str, int]
    is_poison: Callable[[Message], bool]
    one_in: int
    impatient: frozenset[str]


def compare(task: Task) -> Seen:
    """Compare all of the topic, in several processes where it is long."""
    everything = sorted(task.ends)
    if sum(task.ends.values()) < _WORTH_IT:
        return compare_part(task, everything)
    parts = [everything[number::_PROCESSES] for number in range(_PROCESSES)]
    # Not forked: this process has clients of Kafka, which do not survive that.
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        first, *others = pool.map(partial(compare_part, task), parts)
    for other in others:
        first.add(other)
    return first


def compare_part(task: Task, partitions: Sequence[int]) -> Seen:
    """Compare these partitions."""
    seen = Seen(task.issued, task.one_in)
    verdict, acknowledged = seen.verdict, _acknowledged(task, partitions)
    seen.acknowledged = acknowledged.counts
    with connect(task.settings, timeout=120) as store:
        last = -1
        for partition, piece in topic.read(task.settings, task.topic, partitions):
            if partition != last:
                ids: set[bytes] = set()
                last = partition
            offsets = [message.offset() or 0 for message in piece]
            first = seen.offsets.get(partition, (offsets[0], 0))[0]
            seen.offsets[partition] = (first, offsets[-1])
            verdict.on_topic += len(piece)
            acknowledged.compare(partition, piece, verdict)
            rows = _rows(store, partition, offsets[0], offsets[-1])
            good = [message for message in piece if not task.is_poison(message)]
            events = canonical.decode([message.value() or b"" for message in good])
            for message, event in zip(good, events, strict=True):
                event_id = event["event_id"]
                if event_id in ids and any(pair[0] == RESENT for pair in message.headers() or []):
                    seen.take_again(event, message.timestamp()[1])
                    continue  # sent again on purpose, and there already
                offset, broker_ms = message.offset() or 0, message.timestamp()[1]
                if event_id in ids and _worker_of(event) in task.impatient:
                    verdict.repeated += 1
                    seen.take_again(event, broker_ms)
                else:
                    ids.add(event_id)
                    seen.take(event, broker_ms)
                found = rows.get(offset)
                if not found:
                    verdict.lost += 1
                    verdict.note(f"{partition}:{offset} is on the topic but not in the table")
                elif found[0] != canonical.hash_of(event, broker_ms):
                    verdict.changed += 1
                    verdict.note(f"{partition}:{offset} is not in the table as it is on the topic")
    absent = acknowledged.left()
    verdict.lost += absent
    if absent:
        verdict.note(f"{absent} records were acknowledged and are not on the topic")
    return seen


def _worker_of(event: Mapping[str, Any]) -> object:
    return orjson.loads(event["details"]).get("w")


class Seen:
    """What reading a part of the topic adds up to."""

    def __init__(self, issued: Mapping[str, int], one_in: int) -> None:
        self.verdict = Verdict()
        self.acknowledged: dict[str, int] = {}
        self.folding = Folding()
        self.bits: dict[tuple[str, int], int] = {}
        self.by_emitter: dict[str, int] = {}
        self.offsets: dict[int, tuple[int, int]] = {}
        self.expected = 0
        self._one_in = one_in
        self._numbers: dict[str, bytearray] = {worker: bytearray(count) for worker, count in issued.items()}

    def add(self, other: Seen) -> None:
        """Take in what was seen of other partitions. What was acknowledged is known to each part in full."""
        self.verdict.add(other.verdict)
        self.folding.add_documents(other.folding)
        for block, bits in other.bits.items():
            self.bits[block] = self.bits.get(block, 0) | bits
        for emitter, count in other.by_emitter.items():
            self.by_emitter[emitter] = self.by_emitter.get(emitter, 0) + count
        self.offsets.update(other.offsets)
        self.expected += other.expected

    def take(self, event: Mapping[str, Any], broker_ms: int) -> None:
        """One event that is to be a row."""
        self.expected += 1
        emitter, sequence = event["emitter_id"].hex(), event["sequence"]
        self.by_emitter[emitter] = self.by_emitter.get(emitter, 0) + 1
        block = (emitter, sequence // 64)
        self.bits[block] = self.bits.get(block, 0) | 1 << (sequence % 64)
        if self._one_in == 1 or zlib.crc32(event["doc_id"].encode()) % self._one_in == 0:
            self.folding.add(event, broker_ms * 1000)
            self._compare_with_issued(event)

    def take_again(self, event: Mapping[str, Any], broker_ms: int) -> None:
        """One that is a row already; its later arrival counts for the execution's times all the same."""
        if self._one_in == 1 or zlib.crc32(event["doc_id"].encode()) % self._one_in == 0:
            self.folding.add_again(event, broker_ms * 1000)

    def _compare_with_issued(self, event: Mapping[str, Any]) -> None:
        """Whether a worker meant to send just this, and whether it is there for the first time."""
        verdict, details = self.verdict, orjson.loads(event["details"])
        worker, number = details.get("w"), details.get("n")
        marks = self._numbers.get(worker)
        if marks is None or not isinstance(number, int) or number >= len(marks):
            verdict.unissued += 1
            verdict.note(f"nobody issued {event['doc_id']} {worker} {number}")
            return
        if marks[number]:
            verdict.twice_on_topic += 1
            verdict.note(f"event {number} of {worker} stands on the topic twice")
        marks[number] = 1
        wanted = planned(worker, number, len(details.get("filler", "")))
        given = (event["doc_id"], event["step_name"], event["status"], event["error_message"])
        if (
            given != (wanted.doc_id, wanted.step_name, wanted.status.value, wanted.error_message)
            or details != wanted.details
            or {k: v for k, v in orjson.loads(event["metrics"]).items() if k in wanted.metrics}
            != wanted.metrics
        ):
            verdict.changed += 1
            verdict.note(f"event {number} of {worker} is not what was issued")


class _Acknowledged:
    """What was acknowledged: eight bytes of hash for each offset, by partition."""

    def __init__(self, ends: Mapping[int, int], partitions: Collection[int]) -> None:
        self.counts: dict[str, int] = {}
        self.beyond = 0
        self._hashes = {partition: bytearray(8 * ends[partition]) for partition in partitions}

    def take(self, worker: str, records: Iterable[tuple[int, int, bytes]]) -> None:
        """The records that one process, and its children, were told of."""
        count = 0
        for partition, offset, digest in records:
            count += 1
            hashes = self._hashes.get(partition)
            if hashes is None:
                continue  # another part's
            if 8 * offset >= len(hashes):
                self.beyond += 1
            else:
                hashes[8 * offset : 8 * offset + 8] = digest
        self.counts[worker] = count

    def compare(self, partition: int, messages: Iterable[Message], verdict: Verdict) -> None:
        """These are on the topic: with the bytes that were acknowledged, where they were?"""
        hashes, nothing = self._hashes[partition], bytes(8)
        for message in messages:
            offset = message.offset() or 0
            told = hashes[8 * offset : 8 * offset + 8]
            if told != nothing:
                if told != digest_of(message.value() or b""):
                    verdict.changed += 1
                    verdict.note(f"{partition}:{offset} has not the bytes that were acknowledged")
                hashes[8 * offset : 8 * offset + 8] = nothing

    def left(self) -> int:
        """How many were acknowledged and are not on the topic."""
        return self.beyond + sum(
            1
            for hashes in self._hashes.values()
            for at in range(0, len(hashes), 8)
            if hashes[at : at + 8] != bytes(8)
        )


def _acknowledged(task: Task, partitions: Collection[int]) -> _Acknowledged:
    found = _Acknowledged(task.ends, partitions)
    for file in sorted(task.folder.glob("*.acks")):
        found.take(file.stem, witness.read(file))
    return found


def _rows(store: ClickHouse, partition: int, first: int, last: int) -> dict[int, list[str]]:
    sql = (
        f"SELECT kafka_offset, {canonical.HASH_SQL} FROM steps WHERE kafka_partition = {partition} "
        f"AND kafka_offset BETWEEN {first} AND {last}"
    )
    found: dict[int, list[str]] = {}
    for offset, text in store.query(sql):
        found.setdefault(int(offset), []).append(text)
    return found
