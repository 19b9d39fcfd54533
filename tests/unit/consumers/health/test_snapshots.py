"""Snapshots that other versions wrote: with fewer rules, with more, in another order."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steptrail.consumers.health.rules import Judge, Rules, Slot, SnapshotError, State

FOLDER = Path(__file__).parent / "snapshots"
TOLD = json.loads((FOLDER / "before_the_registry.json").read_text("utf-8"))
RAW = (FOLDER / "before_the_registry.snapshot").read_bytes()

Columns = dict[str, tuple[str, bytes]]


def rewritten(raw: bytes, change: Callable[[dict[str, Any], Columns], None]) -> bytes:
    """A snapshot with its header and columns changed."""
    plain = zlib.decompress(raw)
    at = 8 + int.from_bytes(plain[:8], "little")
    header = json.loads(plain[8:at])
    columns: Columns = {}
    for name, kind, size in header["columns"]:
        columns[name] = kind, plain[at : at + size]
        at += size
    change(header, columns)
    header["columns"] = [[name, kind, len(data)] for name, (kind, data) in columns.items()]
    head = json.dumps(header).encode()
    data = b"".join(each for _, each in columns.values())
    return zlib.compress(len(head).to_bytes(8, "little") + head + data)


def judged(raw: bytes) -> Judge:
    return Judge(Rules.parse(TOLD["rules"]), State.from_bytes(raw))


def test_a_snapshot_from_before_the_registry_gives_the_same_verdicts() -> None:
    """What its own version said of every step, pipeline and everything, and what it said next."""
    judge = judged(RAW)
    assert [verdict.as_dict() for verdict in judge.verdicts()] == TOLD["verdicts"]
    assert [[*key, value] for key, value in judge.deadlines().items()] == TOLD["deadlines"]
    assert [[*key, value] for key, value in judge.queue_deadlines().items()] == TOLD["queue_deadlines"]
    again = judged(judge.state.to_bytes())
    for each in (judge, again):
        changed = each.fold(Slot(each.state.next_slot or 0)).verdicts
        assert [verdict.as_dict() for verdict in changed] == TOLD["changed_by_an_empty_slot"]


def test_every_rule_speaks_in_that_snapshot() -> None:
    """Else the test above proves less than it says."""
    rules = {finding["rule"] for verdict in TOLD["verdicts"] for finding in verdict["findings"]}
    assert {"errors", "durations", "silence", "stalled", "thresholds", "losses"} <= rules


def test_a_rule_that_a_snapshot_does_not_know_begins_anew() -> None:
    """Its columns are absent; the other rules go on, and nothing of theirs changes."""

    def without_durations(header: dict[str, Any], columns: Columns) -> None:
        for name in [name for name in columns if name.startswith("durations.")]:
            del columns[name]

    judge = judged(rewritten(RAW, without_durations))
    found = {finding.rule for verdict in judge.verdicts() for finding in verdict.findings}
    assert "durations" not in found
    assert found >= {"errors", "silence", "stalled", "thresholds", "losses"}


def test_a_rule_that_is_no_more_is_passed_over() -> None:
    """Or one of a later version: its columns and its levels are left out."""

    def with_another(header: dict[str, Any], columns: Columns) -> None:
        header["levels"] = ["another", *header["levels"]]
        kind, planes = columns["standing.said.levels"]
        rows = len(header["keys"])
        levels = np.frombuffer(planes, np.uint8).reshape(8, rows).T.copy().view(np.int64)
        levels = levels << 2 | 1  # "another" is WARNING for every step
        columns["standing.said.levels"] = kind, levels.view(np.uint8).reshape(rows, 8).T.tobytes()
        columns["another.counts.seen"] = "int64", bytes(8 * rows)
        header["another"] = {"some": "thing"}

    judge = judged(RAW)
    raw = judge.state.to_bytes()
    other = judged(rewritten(raw, with_another))
    assert other.verdicts() == judge.verdicts()
    slot = Slot(judge.state.next_slot or 0)
    assert other.fold(slot) == judge.fold(slot)  # nothing is published again


def test_a_column_of_a_known_rule_that_is_missing_is_damage() -> None:
    """Half of a rule's state is worth nothing."""

    def without_a_column(header: dict[str, Any], columns: Columns) -> None:
        del columns["errors.cusum.score"]

    def with_a_column(header: dict[str, Any], columns: Columns) -> None:
        columns["errors.cusum.other"] = columns["errors.cusum.score"]

    for change in (without_a_column, with_a_column):
        with pytest.raises(SnapshotError, match="does not hold together"):
            State.from_bytes(rewritten(RAW, change))
