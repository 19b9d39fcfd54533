"""`HealthCheckManager`: how everything is, in one answer that can be believed.

The verdict is the health consumer's, out of ClickHouse. What makes it worth believing is checked on the way: that
the consumer runs and sees, that the verdict is young, that the store and the broker answer. Anything amiss is
UNKNOWN with its reason, whatever the verdict was; nothing of it raises.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import orjson
from confluent_kafka.admin import AdminClient

from steptrail.consumers.health.rules import Finding, HealthStatus
from steptrail.consumers.kafka.errors import error_text, infrastructure_error
from steptrail.consumers.runtime.worker_thread import WorkerThread
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.queries import stored
from steptrail.projections.reading.emitters import ClockOff, worst_clock
from steptrail.projections.stores.health_store import SightRow, StoredVerdict, latest_sight, stored_verdict
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

PATIENCE_S: Final = 1.5
"""Store and broker are asked side by side, and waited for so long."""

SILENT_AFTER_S: Final = 15.0
"""A health consumer reports every five seconds."""

BLIND_AFTER_S: Final = 60.0

CLOCK_OFF_S: Final = 5.0
"""A worker's clock that is off by more is warned of, for an hour after it was last heard of."""

_CLOCK_FOR: Final = timedelta(hours=1)

_kafka_log = logging.getLogger("steptrail.kafka")


@dataclass(frozen=True)
class HealthCheck:
    """How everything is, or one pipeline, or one step of it.

    `findings` is the evidence, that which speaks for the status first. `since`: when the status became so, and
    `until`: up to when the topic had been judged; both in seconds since the epoch, None where nothing was judged.
    `evidence_at`: when the findings were as they are told here; they are restated every few minutes while something
    is wrong, and the status is what it is until `until`. `checked_at` is the time of the check.
    """

    status: HealthStatus
    sentence: str
    findings: tuple[Finding, ...]
    pipeline: str | None
    step: str | None
    since: float | None
    until: float | None
    checked_at: float
    evidence_at: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it is known to be well."""
        return self.status is HealthStatus.HEALTHY

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "status": self.status.value,
            "findings": [finding.as_dict() for finding in self.findings],
        }


class HealthCheckManager:
    """Answers how things are. Make one and keep it: it keeps its connections. Safe to use from several threads.

    Without `settings` they come from the environment, as everywhere; raises ConfigurationError when those cannot be.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings or Settings()
        self._clock = clock
        self._topic = Topics(self._settings.topic_prefix).health.name
        self._clickhouse = connect(self._settings, timeout=10.0)
        self._admin: AdminClient | None = None
        self._store = WorkerThread("steptrail-health-store")
        self._broker = WorkerThread("steptrail-health-broker")
        self._clocks = WorkerThread("steptrail-health-clocks")

    def perform_health_check(self, pipeline: str | None = None, step: str | None = None) -> HealthCheck:
        """How everything is, or one pipeline, or one of its steps; within two seconds, whatever is down.

        Raises ValueError for a step without its pipeline, and nothing else.
        """
        if step is not None and pipeline is None:
            raise ValueError(f"step {step!r} of which pipeline? Name that too.")
        store = self._store.submit(lambda: self._ask_store(pipeline or "", step or ""))
        broker = self._broker.submit(self._ask_broker)
        clocks = self._clocks.submit(lambda: self._ask_clocks(pipeline))
        until = time.monotonic() + PATIENCE_S
        amiss: list[Finding] = []
        told: tuple[SightRow | None, StoredVerdict | None] = (None, None)
        try:
            told = store.result(PATIENCE_S)
        except Exception as error:
            store.cancel()  # nobody waits for it any more, if it has not begun
            amiss.append(_unknown("store", f"ClickHouse cannot be asked: {_said(error)}"))
        try:
            broker.result(max(0.0, until - time.monotonic()))
        except Exception as error:
            broker.cancel()
            amiss.append(
                _unknown("broker", f"Kafka at {self._settings.kafka} cannot be asked: {_said(error)}")
            )
        clock: ClockOff | None = None
        try:
            clock = clocks.result(max(0.0, until - time.monotonic()))
        except Exception:
            clocks.cancel()  # a remark beside the answer, and not worth one of its own
        return self._answer(pipeline, step, *told, clock, amiss)

    def close(self) -> None:
        """Let go of the connections."""
        self._store.close(0.1)
        self._broker.close(0.1)
        self._clocks.close(0.1)
        self._clickhouse.close()

    def __enter__(self) -> HealthCheckManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_store(self, pipeline: str, step: str) -> tuple[SightRow | None, StoredVerdict | None]:
        names = stored(pipeline, self._clickhouse), stored(step, self._clickhouse)
        return latest_sight(self._clickhouse), stored_verdict(self._clickhouse, *names)

    def _ask_clocks(self, pipeline: str | None) -> ClockOff | None:
        since = datetime.fromtimestamp(self._clock(), timezone.utc) - _CLOCK_FOR
        return worst_clock(self._clickhouse, pipeline, since, CLOCK_OFF_S * 1000)

    def _ask_broker(self) -> None:
        if self._admin is None:
            config: dict[str, Any] = {**self._settings.kafka_config(), "logger": _kafka_log, "log_level": 0}
            self._admin = AdminClient(config)
        found = self._admin.list_topics(self._topic, timeout=PATIENCE_S).topics[self._topic]
        if found.error is not None:
            needed = Right("Describe", "topic", self._topic)
            raise infrastructure_error(found.error, self._settings.kafka_config(), self._topic, needed)

    def _answer(
        self,
        pipeline: str | None,
        step: str | None,
        sight: SightRow | None,
        verdict: StoredVerdict | None,
        clock: ClockOff | None,
        amiss: list[Finding],
    ) -> HealthCheck:
        now = self._clock()
        if not any(finding.rule == "store" for finding in amiss):
            amiss += _unseen(sight, now)
            if verdict is None and not amiss:
                whom = "any step" if pipeline is None else " of ".join(filter(None, (step, pipeline)))
                amiss.append(_unknown("verdict", f"nothing has been heard of {whom} yet"))
        known = tuple(_finding(each) for each in orjson.loads(verdict.findings)) if verdict else ()
        wrong_clock = None if clock is None else _clock_finding(clock)
        if wrong_clock is not None:
            known = (*known, wrong_clock)
        until = sight.watermark if sight is not None else None
        evidence_at = verdict.at if verdict is not None else None
        if amiss:
            if verdict is not None:
                was = f"; before that: {verdict.status}, {verdict.sentence}"
                amiss[0] = _unknown(amiss[0].rule, amiss[0].sentence + was, amiss[0].data)
            findings = (*amiss, *known)
            return HealthCheck(
                HealthStatus.UNKNOWN,
                findings[0].sentence,
                findings,
                pipeline,
                step,
                None,
                until,
                now,
                evidence_at,
            )
        assert verdict is not None
        status, sentence = HealthStatus(verdict.status), verdict.sentence
        if wrong_clock is not None and status is HealthStatus.HEALTHY:
            status, sentence, known = wrong_clock.status, wrong_clock.sentence, (wrong_clock, *known[:-1])
        return HealthCheck(status, sentence, known, pipeline, step, verdict.since, until, now, evidence_at)


def _clock_finding(clock: ClockOff) -> Finding:
    side = "behind" if clock.offset_ms > 0 else "ahead of"
    more = f"; {clock.emitters} emitters have such a clock" if clock.emitters > 1 else ""
    sentence = (
        f"the clock of {clock.worker} is {abs(clock.offset_ms) / 1000:.1f} s {side} the brokers'{more}: what its "
        f"emitters measure is corrected, times that are given are not"
    )
    data = {
        "worker": clock.worker,
        "offset_ms": clock.offset_ms,
        "uncertainty_ms": clock.uncertainty_ms,
        "emitters": clock.emitters,
    }
    return Finding("clock", HealthStatus.WARNING, sentence, None, data)


def _unseen(sight: SightRow | None, now: float) -> list[Finding]:
    """Why verdicts cannot be believed at `now`, if so."""
    if sight is None:
        return [
            _unknown("consumer", "no health consumer has ever run here: `steptrail run health` starts one")
        ]
    data = {"member": sight.member, "reported_at": sight.at, "watermark": sight.watermark, "late": sight.late}
    quiet = now - sight.at
    if quiet > SILENT_AFTER_S:
        last = f"; its last word: {sight.reason}" if sight.reason else ""
        return [_unknown("consumer", f"the health consumer has not reported for {quiet:.0f} s{last}", data)]
    if not sight.seeing:
        return [
            _unknown("sight", f"the health consumer cannot see: {sight.reason or 'it is catching up'}", data)
        ]
    if sight.watermark is None or now - sight.watermark > BLIND_AFTER_S:
        age = (
            "never been judged"
            if sight.watermark is None
            else f"been judged up to {now - sight.watermark:.0f} s ago"
        )
        waits = f": {sight.reason}" if sight.reason else ""
        return [_unknown("sight", f"the topic has only {age}{waits}", data)]
    return []


def _unknown(rule: str, sentence: str, data: Any = None) -> Finding:
    return Finding(rule, HealthStatus.UNKNOWN, sentence, None, data or {})


def _finding(told: dict[str, Any]) -> Finding:
    return Finding(**{**told, "status": HealthStatus(told["status"])})


def _said(error: BaseException) -> str:
    if isinstance(error, FutureTimeout):
        return f"no answer within {PATIENCE_S:g} s"
    return error_text(error).partition("\n")[0]
