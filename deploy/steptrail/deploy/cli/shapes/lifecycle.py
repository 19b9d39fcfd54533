"""Of the commands about retention, erasure, rebuilds, backups and rights."""

from __future__ import annotations

from steptrail.consumers.backup.catching_up import CatchUp
from steptrail.consumers.rebuild.rebuilding import RebuildPartition
from steptrail.deploy.cli.shapes.building import (
    BOOL,
    COUNT,
    COUNTS,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    Shape,
    either,
    list_of,
    maybe,
    more,
    of,
    record,
)
from steptrail.projections.lifecycle.rebuild_diff import Difference, Example
from steptrail.projections.lifecycle.retention import Expired, Removed
from steptrail.schemas.topics import Difference as TopicDifference


def shapes() -> dict[str, Shape]:
    """By command."""
    rules = _rules()
    changed = more(rules, dry_run=BOOL, expired=list_of(of(Expired)), removed=list_of(of(Removed)))
    names = ("set", "default", "hold", "release", "apply")
    return {
        "retention": Shape(rules, lines=False),
        **{f"retention {name}": Shape(changed, lines=False) for name in names},
        "erase": Shape(_erased(), lines=False),
        "erase --list": Shape(_erasure()),
        **_rebuild(),
        **_backup(),
        "grants": Shape(record(role=TEXT, sql=TEXT, comment=TEXT)),
    }


def _rebuild() -> dict[str, Shape]:
    times = {"since": maybe(TIME), "at": maybe(TIME)}
    figures = {"left": COUNT, "per_second": maybe(NUMBER), "seconds_left": maybe(NUMBER)}
    told = {name: maybe(TEXT) for name in ("rebuild", "state", "side", "requested_by")}
    partitions = list_of(of(RebuildPartition))
    shown = record(**told, **times, **figures, pipelines=list_of(TEXT), partitions=partitions)
    planned = dict.fromkeys(("reads", "copies", "expired", "live_bytes"), COUNT)
    changed = Shape(more(shown, dry_run=BOOL), lines=False)
    diff = record(events=COUNT, differences=list_of(of(Difference)), examples=list_of(of(Example)))
    started = either(more(shown, dry_run=BOOL), more(shown, dry_run=BOOL, **planned))
    return {
        "rebuild": Shape(shown, lines=False),
        "rebuild start": Shape(started, lines=False),
        "rebuild diff": Shape(diff, lines=False),
        **{f"rebuild {name}": changed for name in ("exchange", "back", "drop")},
    }


def _backup() -> dict[str, Shape]:
    listed = {
        "name": TEXT,
        "at": maybe(TIME),
        "bytes": maybe(COUNT),
        "migration": maybe(COUNT),
        "requested_by": TEXT,
    }
    topic = record(topic=TEXT, outcome=TEXT, differences=list_of(of(TopicDifference)))
    restored = record(
        **listed,
        dry_run=BOOL,
        tables=COUNTS,
        in_the_way=COUNTS,
        running=list_of(TEXT),
        catch_up=list_of(of(CatchUp)),
        topics=list_of(topic),
    )
    return {
        "backup": Shape(record(**listed, tables=COUNTS), lines=False),
        "backup --list": Shape(record(**listed)),
        "restore": Shape(restored, lines=False),
    }


def _rules() -> Schema:
    rule = {"days": maybe(COUNT), "reason": TEXT, "changed_by": TEXT, "changed_at": maybe(TIME)}
    times = {name: maybe(TIME) for name in ("oldest_at", "newest_at", "goes_at")}
    topic = record(topic=TEXT, retention_ms=maybe(COUNT), compacted=BOOL)
    return record(
        default=record(**rule),
        pipelines=list_of(record(pipeline=TEXT, own=BOOL, held=BOOL, events=COUNT, **rule, **times)),
        topics=list_of(topic),
    )


def _erased() -> Schema:
    return record(
        dry_run=BOOL,
        documents=COUNT,
        unknown=COUNT,
        rows=COUNTS,
        until=maybe(TIME),
        request=maybe(TEXT),
        state=maybe(TEXT),
        topics=list_of(record(topic=TEXT, gone_at=maybe(TIME), compacted=BOOL)),
    )


def _erasure() -> Schema:
    return record(
        request=TEXT,
        state=TEXT,
        pipelines=list_of(TEXT),
        documents=COUNT,
        rows=COUNTS,
        until=TIME,
        requested_by=TEXT,
        reason=TEXT,
        at=maybe(TIME),
    )
