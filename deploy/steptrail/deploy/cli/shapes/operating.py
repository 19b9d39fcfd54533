"""Of the commands about health, alerts, dead letters, delivery and the stack."""

from __future__ import annotations

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.health.rules.verdict import Finding
from steptrail.consumers.kafka.broker import Member
from steptrail.consumers.loop.lag import PartitionLag
from steptrail.deploy.cli.shapes.building import (
    BOOL,
    COUNT,
    COUNTS,
    FRESH,
    NUMBER,
    OBJECT,
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
from steptrail.deploy.stack.status import StackStatus
from steptrail.projections.clickhouse.migrate import MigrationState
from steptrail.projections.cluster.handover import Placement
from steptrail.projections.delivery.topic_gaps import TopicGap
from steptrail.projections.stores.dead_letter_store import StoredLetter

_UNKNOWN = list_of(record(kind=TEXT, name=TEXT, near=list_of(TEXT)))


def shapes() -> dict[str, Shape]:
    """By command."""
    silence = of(Silence, named=True, starts=TIME, ends=TIME)
    return {
        **_health(),
        "lag": Shape(_lag(), lines=False),
        "alerts list": Shape(_alert(), watched=True),
        "alerts silences": Shape(silence, watched=True),
        "alerts silence": Shape(more(silence, dry_run=BOOL, alerts=COUNT, unknown=_UNKNOWN), lines=False),
        "alerts expire": Shape(more(silence, dry_run=BOOL, alerts=COUNT), lines=False),
        "alerts test": Shape(
            record(target=TEXT, address=TEXT, delivered=BOOL, status=maybe(COUNT), said=TEXT, seconds=NUMBER),
            lines=False,
        ),
        "alerts check": Shape(
            record(targets=list_of(TEXT), routes=list_of(TEXT), owners=COUNT, unknown=_UNKNOWN), lines=False
        ),
        **_letters(),
        **_stack(),
    }


def _health() -> dict[str, Shape]:
    finding = of(Finding, named=True)
    verdict = {"pipeline": maybe(TEXT), "step_name": maybe(TEXT), "status": TEXT, "sentence": TEXT}
    verdict |= {"since": TIME, "at": TIME, "findings": list_of(finding)}
    times = {name: maybe(TIME) for name in ("since", "until", "evidence_at")}
    check = of(HealthCheck, named=True, checked_at=TIME, **times)
    change = record(**verdict, before=maybe(TEXT))
    rule_counts = record(rule=TEXT, status=TEXT, count=COUNT)
    return {
        "health": Shape(more(check, troubled=list_of(record(**verdict)), near=list_of(TEXT)), lines=False),
        "health replay": Shape(
            record(since=TIME, until=TIME, counts=list_of(rule_counts), changes=list_of(change)), lines=False
        ),
        "health rules check": Shape(record(file=TEXT, rules=COUNT, ok=BOOL, unknown=_UNKNOWN), lines=False),
        "health rules show": Shape(
            {**OBJECT, "required": ["pipeline", "step_name", "silenced"]}, lines=False
        ),
    }


def _lag() -> Schema:
    return record(
        topic=TEXT,
        group=TEXT,
        group_state=maybe(TEXT),
        **FRESH,
        lag_events=maybe(COUNT),
        lag_seconds=maybe(NUMBER),
        waiting_for=maybe(TEXT),
        problems=list_of(TEXT),
        gaps=list_of(of(TopicGap)),
        members=list_of(of(Member)),
        partitions=list_of(of(PartitionLag)),
    )


def _alert() -> Schema:
    told = record(target=TEXT, status=TEXT, episode=TEXT, severity=TEXT, at=TIME, sure=BOOL)
    held = record(by=TEXT, silence=BOOL, until=maybe(TIME))
    times = {"since": TIME, "fired_at": TIME, "ended_at": maybe(TIME), "evidence_at": maybe(TIME)}
    fields: dict[str, Schema] = {
        "held": maybe(held),
        "told": list_of(told),
        "waiting": list_of(TEXT),
        **times,
    }
    return of(Alert, named=True, **fields)


def _letters() -> dict[str, Shape]:
    letter = of(StoredLetter, place=TEXT)
    fault = record(reason=TEXT, message=TEXT, position=maybe(COUNT), field=maybe(TEXT))
    shown = more(
        letter,
        headers=list_of({"type": "array", "prefixItems": [TEXT, maybe(TEXT)], "minItems": 2, "maxItems": 2}),
        key=maybe(TEXT),
        value=maybe(TEXT),
        decodes_now=BOOL,
        guessed_schema=BOOL,
        fields=list_of(record(name=TEXT, value=maybe(TEXT), start=COUNT, end=COUNT)),
        fault=maybe(fault),
    )
    redriven = {
        "dry_run": BOOL,
        "matched": COUNT,
        "sent": COUNT,
        "would_send": maybe(COUNT),
        "skipped": COUNTS,
    }
    redriven |= {name: maybe(COUNT) for name in ("arrived", "there_already", "died_again")}
    return {
        "dlq list": Shape(
            letter,
            watched=True,
            about={"letters": COUNT, "by_reason": COUNTS, "not_in_table_yet": maybe(COUNT)},
        ),
        "dlq show": Shape(shown, lines=False),
        "dlq redrive": Shape(record(**redriven, open_before=COUNT, open_after=COUNT, run=TEXT), lines=False),
        "dlq drop": Shape(
            record(dry_run=BOOL, matched=COUNT, dropped=COUNT, by_reason=COUNTS, run=maybe(TEXT)), lines=False
        ),
    }


def _stack() -> dict[str, Shape]:
    texts: Schema = {"type": "object", "additionalProperties": TEXT}
    difference = record(name=TEXT, is_now=maybe(TEXT), wanted=TEXT)
    rows = {"type": "array", "items": OBJECT}
    demo = dict.fromkeys(
        ("documents", "emitted", "delivered", "projected", "documents_projected", "workers"), COUNT
    )
    demo |= dict.fromkeys(("events_per_second", "working_seconds", "projecting_seconds"), NUMBER)
    return {
        "up": Shape(record({"web": TEXT}, kafka=TEXT, clickhouse=TEXT, dir=TEXT), lines=False),
        "down": Shape(record(dir=TEXT, stopped=BOOL), lines=False),
        "status": Shape(of(StackStatus, named=True, clickhouse_url=maybe(TEXT)), lines=False),
        "env": Shape(texts, lines=False),
        "demo": Shape(
            record(
                run=TEXT,
                agree=BOOL,
                lost=COUNTS,
                steps=rows,
                errors=rows,
                store=COUNTS,
                interesting_document=maybe(TEXT),
                **demo,
            ),
            lines=False,
        ),
        "topics": Shape(record(topic=TEXT, outcome=TEXT, differences=list_of(difference))),
        "migrate": Shape(of(MigrationState, database=TEXT, applied_now=BOOL)),
        "migrate --print": Shape(record(database=TEXT, sql=TEXT)),
        "shards": Shape(of(Placement)),
        "run spool": Shape(
            record(sent=COUNT, refused=COUNT, files_left=maybe(COUNT), reached=BOOL), lines=False
        ),
    }
