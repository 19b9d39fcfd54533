"""Of the commands about retention, erasure and rights."""

from __future__ import annotations

from steptrail.deploy.cli.shapes.building import (
    BOOL,
    COUNT,
    COUNTS,
    TEXT,
    TIME,
    Schema,
    Shape,
    list_of,
    maybe,
    more,
    of,
    record,
)
from steptrail.projections.lifecycle.retention import Expired, Removed


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
        "grants": Shape(record(role=TEXT, sql=TEXT, comment=TEXT)),
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
