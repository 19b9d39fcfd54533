"""What the health consumer keeps in ClickHouse: verdicts, snapshots, and whether it can see."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

import orjson

from steptrail.projections.clickhouse.client import ClickHouse

RING: Final = 8
"""So many snapshots are kept."""


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A change of a verdict; times in seconds since the epoch, `findings` JSON. The migration says what each means."""

    pipeline: str
    step_name: str
    slot: int
    status: str
    since: float
    at: float
    sentence: str
    findings: str
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`state` after slot `slot`, with the offsets and the watermark (seconds since the epoch) that it stands for."""

    slot: int
    watermark: float
    offsets: Mapping[int, int]
    state: bytes
    at: float
    member: str


@dataclass(frozen=True, slots=True)
class SightRow:
    """Whether a health consumer could see at `at`; times in seconds since the epoch.

    `age_s` is how long ago that is by ClickHouse's clock, in a row that was read.
    """

    at: float
    seeing: bool
    watermark: float | None
    slot: int | None
    reason: str
    late: int
    member: str
    age_s: float = field(default=0.0, compare=False)


def write_verdicts(clickhouse: ClickHouse, rows: Iterable[VerdictRow]) -> None:
    """Write changes of verdicts; the same row again changes nothing."""
    _insert(
        clickhouse,
        "health_verdicts",
        [
            {
                **{name: getattr(row, name) for name in row.__slots__},
                "since": _text(row.since),
                "at": _text(row.at),
            }
            for row in rows
        ],
    )


def write_sight(clickhouse: ClickHouse, row: SightRow) -> None:
    """Write one row of `health_sight`."""
    told = {name: getattr(row, name) for name in ("slot", "reason", "late", "member")}
    told["at"] = _text(row.at)
    told["watermark"] = None if row.watermark is None else _text(row.watermark)
    told["state"] = "SEEING" if row.seeing else "BLIND"
    _insert(clickhouse, "health_sight", [told])


def latest_sight(clickhouse: ClickHouse) -> SightRow | None:
    """The latest row of `health_sight`, None while there is none."""
    rows = clickhouse.query(
        "SELECT at, state = 'SEEING', watermark, slot, reason, late, member, "
        "dateDiff('millisecond', at, now64(3)) / 1e3 FROM health_sight ORDER BY at DESC LIMIT 1"
    )
    for at, seeing, watermark, slot, reason, late, member, age_s in rows:
        return SightRow(
            at.timestamp(),
            bool(seeing),
            None if watermark is None else watermark.timestamp(),
            slot,
            reason,
            late,
            member,
            float(age_s),
        )
    return None


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """The latest verdict of one step, pipeline or everything; times in seconds since the epoch, `findings` JSON."""

    pipeline: str
    step_name: str
    slot: int
    status: str
    since: float
    at: float
    sentence: str
    findings: str


def stored_verdict(clickhouse: ClickHouse, pipeline: str, step: str) -> StoredVerdict | None:
    """The latest verdict of one; of a pipeline with `step` "", of everything with both. None: nothing was judged."""
    found = stored_verdicts(
        clickhouse, "pipeline = {pipeline:String} AND step_name = {step:String}", pipeline, step
    )
    return found[0] if found else None


def stored_verdicts(
    clickhouse: ClickHouse, condition: str = "true", pipeline: str = "", step: str = ""
) -> list[StoredVerdict]:
    """The latest verdicts, the whole first, where `condition` (SQL over {pipeline:String}, {step:String}) holds."""
    rows = clickhouse.query(
        "SELECT pipeline, step_name, slot, toString(status), since, at, sentence, findings FROM health_state "
        f"WHERE {condition} ORDER BY pipeline, step_name",
        {"pipeline": pipeline, "step": step},
    )
    return [
        StoredVerdict(p, s, int(slot), status, since.timestamp(), at.timestamp(), sentence, findings)
        for p, s, slot, status, since, at, sentence, findings in rows
    ]


def write_snapshot(clickhouse: ClickHouse, snapshot: Snapshot) -> None:
    """Write a snapshot in the place of the oldest one."""
    rows = clickhouse.query(
        "SELECT place, max(at) AS latest FROM health_snapshots GROUP BY place ORDER BY latest"
    )
    taken = [int(place) for place, _ in rows]
    place = next((n for n in range(RING) if n not in taken), None)
    _insert(
        clickhouse,
        "health_snapshots",
        [
            {
                "place": taken[0] if place is None else place,
                "at": _text(snapshot.at),
                "slot": snapshot.slot,
                "watermark": _text(snapshot.watermark),
                "offsets": orjson.dumps({str(p): o for p, o in snapshot.offsets.items()}).decode(),
                "member": snapshot.member,
                "state": base64.b64encode(snapshot.state).decode(),
            }
        ],
    )


def snapshots(clickhouse: ClickHouse) -> Iterator[Snapshot]:
    """The snapshots, the newest first; each is fetched when it is asked for."""
    places = clickhouse.query(
        "SELECT place, at, slot FROM health_snapshots ORDER BY slot DESC, at DESC LIMIT 64"
    )
    for place, at, slot in places:
        for watermark, offsets, member, state in clickhouse.query(
            "SELECT watermark, offsets, member, state FROM health_snapshots "
            "WHERE place = {place:UInt8} AND at = {at:DateTime64(3, 'UTC')} AND slot = {slot:Int64} LIMIT 1",
            {"place": place, "at": at, "slot": slot},
        ):
            known = {int(p): int(o) for p, o in orjson.loads(offsets).items()}
            raw = base64.b64decode(state)
            yield Snapshot(int(slot), watermark.timestamp(), known, raw, at.timestamp(), member)


def _insert(clickhouse: ClickHouse, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        body = b"\n".join(orjson.dumps(row) for row in rows)
        columns = ", ".join(rows[0])
        clickhouse.command(f"INSERT INTO {table} ({columns}) FORMAT JSONEachRow", data=body)


def _text(seconds: float) -> str:
    """A time as the store reads it, to the millisecond."""
    at = datetime.fromtimestamp(round(seconds * 1000) / 1000, timezone.utc)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"
