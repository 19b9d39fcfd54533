"""What the commands about health and alerts show of a day in an invoice pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.engine import Held
from steptrail.consumers.alerts.model.notification import Told
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.overview import Shown
from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.health.replay import Change
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict
from steptrail.deploy.cli.commands import (
    alerts,
    silences,
)
from steptrail.deploy.cli.commands.health import health, replay
from steptrail.deploy.cli.main import run
from steptrail.projections.stores.health_store import StoredVerdict
from support.cli_screen_texts import NOW, SENTENCE, ago


def _verdict(step: str, status: str, sentence: str) -> StoredVerdict:
    since = ago(minutes=14).timestamp()
    return StoredVerdict("invoices", step, 1, status, since, NOW.timestamp(), sentence, "[]")


def _health() -> None:
    finding = Finding("errors", HealthStatus.CRITICAL, f"invoices/ocr: {SENTENCE}")
    warning = Finding(
        "durations", HealthStatus.WARNING, "invoices/fetch: p95 is 4.2 s, usual is 0.8 s", silenced=True
    )
    since = ago(minutes=14).timestamp()
    check = HealthCheck(
        HealthStatus.CRITICAL,
        finding.sentence,
        (finding, warning),
        None,
        None,
        since,
        NOW.timestamp(),
        NOW.timestamp(),
    )
    stalled = "3 started executions are past their deadline of 600 s, the oldest for 14 m"
    health._show(
        check,
        [
            _verdict("ocr", "CRITICAL", SENTENCE),
            _verdict("classify", "WARNING", stalled),
            _verdict("", "CRITICAL", "ocr is CRITICAL, classify is WARNING"),
        ],
    )


def _health_replay() -> None:
    at = ago(hours=2).timestamp()
    finding = Finding("errors", HealthStatus.CRITICAL, SENTENCE)
    changes = [
        Change(Verdict("invoices", "ocr", HealthStatus.CRITICAL, at, at, (finding,)), HealthStatus.HEALTHY),
        Change(Verdict("invoices", "ocr", HealthStatus.HEALTHY, at + 900, at + 900), HealthStatus.CRITICAL),
    ]
    from collections import Counter

    replay._show(changes, Counter({("errors", "CRITICAL"): 1}))


def _health_rules() -> None:
    assert run(["health", "rules", "show", "--pipeline", "invoices", "--step", "ocr"]) == 0


def _alert(step: str, severity: HealthStatus, sentence: str, **more: Any) -> Alert:
    since = ago(minutes=14).timestamp()
    return Alert(
        "a1", "e1", "invoices", step, severity, "errors", sentence, since, since, owner="team-ocr", **more
    )


def _alerts_list() -> None:
    at = ago(minutes=12).timestamp()
    told = Told("ops", "a1", "e1", "firing", HealthStatus.CRITICAL, at, at)
    alerts._show(
        [
            Shown(_alert("ocr", HealthStatus.CRITICAL, SENTENCE), None, (told,), ("archive-team",)),
            Shown(_alert("", HealthStatus.WARNING, "ocr is CRITICAL"), Held("5f3a09c1", True), (), ()),
        ]
    )


def _silences() -> None:
    start, end = ago(hours=1).timestamp(), ago(hours=-2).timestamp()
    one = Silence(
        "5f3a09c1", "invoices", "ocr*", "*", start, end, "moving the archive to the new host", "ada@build-7"
    )
    silences.show_silences([one])


HEALTH: dict[str, Callable[[], None]] = {
    "health": _health,
    "health-replay": _health_replay,
    "health-rules": _health_rules,
    "alerts-list": _alerts_list,
    "alerts-silences": _silences,
}
