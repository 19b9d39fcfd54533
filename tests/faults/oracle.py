"""What must be true after any fault: acknowledged ⊆ rows ⊆ issued, nothing changed, nothing twice.

Three independent accounts are compared. What workers recorded (load), what stands on the topic (topic, read by a plain
consumer), what stands in the tables (raw rows, merges stopped). The topic is the truth between the other two: each
record of it has to be one row, with the same content by hash; each acknowledged record has to be on it, with the
same bytes; each record has to be one that a worker meant to send. The state tables are compared with a fold of the
topic's records.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from confluent_kafka import Message

from faults import canonical, topic
from faults.corpus import planned
from faults.folding import Folding
from faults.load import Record
from faults.witness import digest_of
from faults.workspace import Workspace
from steptrail.producers.accounting import FailReason

RESENT = "steptrail.resent"
MAYBE = tuple(reason for reason in FailReason if reason.maybe_delivered)
SHOWN = 3


@dataclass
class Verdict:
    """The oracle's counts. Everything below `rows` has to be zero or empty."""

    issued: int = 0
    acknowledged: int = 0
    on_topic: int = 0
    rows: int = 0
    lost: int = 0
    double: int = 0
    changed: int = 0
    unissued: int = 0
    twice_on_topic: int = 0
    states_wrong: int = 0
    bits_wrong: int = 0
    ledger_holes: int = 0
    committed_ahead: int = 0
    not_balanced: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.faults().values())

    def faults(self) -> dict[str, int]:
        """What has to be zero."""
        return {name: getattr(self, name) for name in _FAULTS}

    def add(self, other: Verdict) -> Verdict:
        """Both together."""
        for name in ("issued", "acknowledged", "on_topic", "rows", *_FAULTS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.examples += other.examples
        return self

    def note(self, text: str) -> None:
        """Keep an example of what is wrong."""
        if len(self.examples) < 10:
            self.examples.append(text)


_FAULTS = (
    *("lost", "double", "changed", "unissued", "twice_on_topic", "states_wrong", "bits_wrong"),
    *("ledger_holes", "committed_ahead", "not_balanced"),
)


def judge(
    workspace: Workspace,
    record: Record,
    *,
    is_poison: Callable[[Message], bool] = lambda _: False,
    one_in: int = 1,
) -> Verdict:
    """Compare everything. `is_poison` tells records that are no events and so no rows.

    For one in `one_in` documents states are folded, and payloads compared with what was issued: doing that for all
    takes memory and time for each event.
    """
    verdict = Verdict()
    seen = _Topic(record.issued_up_to(), one_in)
    acknowledged = _acknowledged(record, workspace.ends())
    verdict.acknowledged = sum(acknowledged.counts.values())
    verdict.issued = sum(seen.issued.values())
    _compare_topic(workspace, verdict, seen, acknowledged, is_poison)
    _compare_totals(workspace, verdict, seen)
    _compare_states(workspace, verdict, seen.folding, one_in)
    _compare_bits(workspace, verdict, seen.bits)
    _check_ledger(workspace, verdict, seen.offsets)
    _check_accounts(record, verdict, seen.by_emitter, acknowledged.counts)
    return verdict


class _Topic:
    """What reading the topic adds up to."""

    def __init__(self, issued: Mapping[str, int], one_in: int) -> None:
        self.issued = issued
        self.folding = Folding()
        self.bits: dict[tuple[str, int], int] = {}
        self.by_emitter: dict[str, int] = {}
        self.offsets: dict[int, tuple[int, int]] = {}
        self.expected = 0
        self._one_in = one_in
        self._numbers: dict[str, bytearray] = {worker: bytearray(count) for worker, count in issued.items()}

    def take(self, event: Mapping[str, Any], broker_ms: int, verdict: Verdict) -> None:
        """One event that is to be a row."""
        self.expected += 1
        emitter, sequence = event["emitter_id"].hex(), event["sequence"]
        self.by_emitter[emitter] = self.by_emitter.get(emitter, 0) + 1
        block = (emitter, sequence // 64)
        self.bits[block] = self.bits.get(block, 0) | 1 << (sequence % 64)
        if self._one_in == 1 or zlib.crc32(event["doc_id"].encode()) % self._one_in == 0:
            self.folding.add(event, broker_ms * 1000)
            self._compare_with_issued(event, verdict)

    def _compare_with_issued(self, event: Mapping[str, Any], verdict: Verdict) -> None:
        """Whether a worker meant to send just this, and whether it is there for the first time."""
        details = orjson.loads(event["details"])
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

    def __init__(self, ends: Mapping[int, int]) -> None:
        self.counts: dict[str, int] = {}
        self.beyond = 0
        self._hashes = {partition: bytearray(8 * end) for partition, end in ends.items()}

    def take(self, worker: str, records: Iterable[tuple[int, int, bytes]]) -> None:
        """The records that one process, and its children, were told of."""
        count = 0
        for partition, offset, digest in records:
            count += 1
            hashes = self._hashes.get(partition, bytearray())
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


def _acknowledged(record: Record, ends: Mapping[int, int]) -> _Acknowledged:
    from faults import witness

    found = _Acknowledged(ends)
    for file in sorted(record.folder.glob("*.acks")):
        found.take(file.stem, witness.read(file))
    return found


def _compare_topic(
    workspace: Workspace,
    verdict: Verdict,
    seen: _Topic,
    acknowledged: _Acknowledged,
    is_poison: Callable[[Message], bool],
) -> None:
    ids: set[bytes] = set()
    last = -1
    for partition, piece in topic.read(workspace):
        if partition != last:
            ids, last = set(), partition
        offsets = [message.offset() or 0 for message in piece]
        first = seen.offsets.get(partition, (offsets[0], 0))[0]
        seen.offsets[partition] = (first, offsets[-1])
        verdict.on_topic += len(piece)
        acknowledged.compare(partition, piece, verdict)
        rows = _rows(workspace, partition, offsets[0], offsets[-1])
        good = [message for message in piece if not is_poison(message)]
        events = canonical.decode([message.value() or b"" for message in good])
        for message, event in zip(good, events, strict=True):
            event_id = event["event_id"]
            if event_id in ids and any(pair[0] == RESENT for pair in message.headers() or []):
                continue  # sent again on purpose, and there already
            ids.add(event_id)
            offset, broker_ms = message.offset() or 0, message.timestamp()[1]
            seen.take(event, broker_ms, verdict)
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


def _rows(workspace: Workspace, partition: int, first: int, last: int) -> dict[int, list[str]]:
    sql = (
        f"SELECT kafka_offset, {canonical.HASH_SQL} FROM steps WHERE kafka_partition = {partition} "
        f"AND kafka_offset BETWEEN {first} AND {last}"
    )
    found: dict[int, list[str]] = {}
    for offset, text in workspace.store.query(sql):
        found.setdefault(int(offset), []).append(text)
    return found


def _compare_totals(workspace: Workspace, verdict: Verdict, seen: _Topic) -> None:
    sql = "SELECT count(), uniqExact(event_id), uniqExact(topic_id, kafka_partition, kafka_offset) FROM steps"
    [(count, events, places)] = workspace.store.query(sql)
    verdict.rows = int(count)
    verdict.double = int(count) - min(int(events), int(places))
    extra = int(places) - (seen.expected - verdict.lost)
    if extra > 0:
        verdict.unissued += extra
        verdict.note(f"{extra} rows are of no record that should be one")
    if verdict.double:
        sql = (
            "SELECT kafka_partition, kafka_offset, count() FROM steps GROUP BY 1, 2 HAVING count() > 1 "
            f"ORDER BY 1, 2 LIMIT {SHOWN}"
        )
        for partition, offset, times in workspace.store.query(sql):
            verdict.note(f"{partition}:{offset} is in the table {times} times")


_EXECUTIONS = """
SELECT toString(pipeline), doc_id, toString(step_name), replaceAll(toString(execution_id), '-', ''),
    winner.1, toUnixTimestamp64Micro(winner.2), leftPad(lower(hex(winner.3)), 32, '0'), toInt8(winner.4), attempt,
    if(isNull(first_run), NULL, toUnixTimestamp64Micro(assumeNotNull(first_run))),
    toUnixTimestamp64Micro(first_any), toUnixTimestamp64Micro(last_any)
FROM step_executions FINAL WHERE {slice}
"""

_STATES = """
SELECT toString(pipeline), doc_id, toString(step_name), toString(status), attempt,
    replaceAll(toString(execution_id), '-', ''),
    if(isNull(started_at), NULL, toUnixTimestamp64Micro(assumeNotNull(started_at))),
    toUnixTimestamp64Micro(updated_at), duration_ms, toString(error_type), error_message, details, metrics,
    depends_on, executions, events
FROM step_state WHERE {slice}
"""


def _compare_states(workspace: Workspace, verdict: Verdict, folding: Folding, one_in: int) -> None:
    part = f"CRC32(doc_id) % {one_in} = 0"
    for what, sql, wanted in (
        ("execution", _EXECUTIONS, folding.executions()),
        ("state", _STATES, folding.states()),
    ):
        found = set(workspace.store.query(sql.format(slice=part)))
        differing = found.symmetric_difference(wanted)
        # A wrong one is there twice: as it is and as it should be.
        verdict.states_wrong += len({row[:4] if what == "execution" else row[:3] for row in differing})
        for row in sorted(differing, key=repr)[:SHOWN]:
            verdict.note(f"{what} {'is' if row in found else 'should be'} {row}")


def _compare_bits(workspace: Workspace, verdict: Verdict, wanted: Mapping[tuple[str, int], int]) -> None:
    sql = "SELECT emitter_id, block, groupBitOr(seen) FROM emitter_sequences GROUP BY emitter_id, block"
    found = {(str(emitter), int(block)): int(bits) for emitter, block, bits in workspace.store.query(sql)}
    for block in found.keys() | wanted.keys():
        if found.get(block) != wanted.get(block):
            verdict.bits_wrong += 1
            verdict.note(f"arrivals {block} are {found.get(block)}, should be {wanted.get(block)}")


def _check_ledger(workspace: Workspace, verdict: Verdict, offsets: Mapping[int, tuple[int, int]]) -> None:
    sql = (
        "SELECT partition, first_offset, last_offset FROM projection_ledger WHERE projection_name = 'steps' "
        "ORDER BY partition, first_offset"
    )
    stand = {partition: first - 1 for partition, (first, _) in offsets.items()}
    for partition, first, last in workspace.store.query(sql):
        if first > stand.get(partition, first - 1) + 1:
            verdict.ledger_holes += 1
            verdict.note(f"the ledger leaves out {partition}:{stand[partition] + 1} to {first - 1}")
        stand[partition] = max(int(last), stand.get(partition, -1))
    for partition, (_, last) in offsets.items():
        if stand[partition] < last:
            verdict.ledger_holes += 1
            verdict.note(f"the ledger ends at {partition}:{stand[partition]}, the topic at {last}")
    for partition, offset in workspace.committed().items():
        if offset > stand.get(partition, -1) + 1:
            verdict.committed_ahead += 1
            verdict.note(f"{partition}:{offset} is committed, the ledger ends at {stand.get(partition, -1)}")


def _check_accounts(
    record: Record, verdict: Verdict, on_topic: Mapping[str, int], acknowledged: Mapping[str, int]
) -> None:
    delivered: dict[str, int] = {}
    for account in record.accounts():
        failed, worker = account["failed"], account["worker"]
        total = account["delivered"] + sum(failed.values()) + sum(account["dropped"].values())
        total += account["spooled"]
        # What an emitter left in its spool may be on the topic by now, sent by another process.
        maybe = sum(failed.get(reason.value, 0) for reason in MAYBE) + account["spooled"]
        there = on_topic.get(account["emitter"], 0)
        wrong = [
            *([] if account["accepted"] == total + account["pending"] else ["the equation"]),
            *([] if account["accepted"] == account["emitted"] else ["accepted, not as many as emitted"]),
            *(["the equation, while it ran"] if account.get("unbalanced") else []),
        ]
        if account.get("final"):
            delivered[worker] = account["delivered"]
            if not account["delivered"] <= there <= account["delivered"] + maybe:
                wrong.append(f"delivered, of which {there} are on the topic")
            told = acknowledged.get(worker, account["delivered"])
            # With a spool it may have sent, and been told of, what others had left there.
            more = told > account["delivered"] and account["has_spool"]
            if not account.get("forked") and told != account["delivered"] and not more:
                wrong.append(f"delivered, of which {acknowledged[worker]} were acknowledged")
        if wrong:
            verdict.not_balanced += 1
            verdict.note(f"{worker} accounts wrongly for {'; '.join(wrong)}: {account}")
