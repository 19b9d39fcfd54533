"""What must be true after any fault: acknowledged ⊆ rows ⊆ issued, nothing changed, nothing twice.

Three independent accounts are compared. What workers recorded (load), what stands on the topic (topic, read by a plain
consumer), what stands in the tables (raw rows, merges stopped). The topic is the truth between the other two: each
record of it has to be one row, with the same content by hash; each acknowledged record has to be on it, with the
same bytes; each record has to be one that a worker meant to send. The state tables are compared with a fold of the
topic's records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confluent_kafka import Message

from faults.comparing import Seen, Task, compare
from faults.folding import Folding
from faults.load import Record
from faults.verdict import Verdict
from faults.workspace import Workspace
from steptrail.producers.accounting import FailReason

MAYBE = tuple(reason for reason in FailReason if reason.maybe_delivered)
SHOWN = 3


def judge(
    workspace: Workspace,
    record: Record,
    *,
    is_poison: Callable[[Message], bool],
    one_in: int = 1,
) -> Verdict:
    """Compare everything. `is_poison` tells records that are no events and so no rows.

    For one in `one_in` documents states are folded, and payloads compared with what was issued: doing that for all
    takes memory and time for each event.
    """
    issued = record.issued_up_to()
    seen = compare(
        Task(
            workspace.settings,
            workspace.topic,
            record.folder,
            workspace.ends(),
            issued,
            is_poison,
            one_in,
            frozenset(record.impatient),
        )
    )
    verdict = seen.verdict
    verdict.acknowledged = sum(seen.acknowledged.values())
    verdict.issued = sum(issued.values())
    _compare_totals(workspace, verdict, seen)
    _compare_states(workspace, verdict, seen.folding, one_in)
    _compare_bits(workspace, verdict, seen.bits)
    _check_ledger(workspace, verdict, seen.offsets)
    _check_accounts(record, verdict, seen.by_emitter, seen.acknowledged)
    return verdict


def _compare_totals(workspace: Workspace, verdict: Verdict, seen: Seen) -> None:
    sql = "SELECT count(), uniqExact(event_id), uniqExact(topic_id, kafka_partition, kafka_offset) FROM steps"
    [(count, events, places)] = workspace.store.query(sql)
    verdict.rows = int(count)
    verdict.double = int(count) - min(int(events) + verdict.repeated, int(places))
    extra = int(places) - (seen.expected + verdict.repeated - verdict.lost)
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
    if(isNull(queued_at), NULL, toUnixTimestamp64Micro(assumeNotNull(queued_at))),
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
