"""One turn of the alerting consumer: from levels to records on the topics and notifications to targets."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from steptrail.consumers.alerts.config.config import AlertsConfig
from steptrail.consumers.alerts.delivery.worker import Outcome
from steptrail.consumers.alerts.delivery.worker_pool import WorkerPool
from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.alerts.model import silence
from steptrail.consumers.alerts.model.alert import TARGET, Alert, rfc3339
from steptrail.consumers.alerts.model.engine import Plan, plan
from steptrail.consumers.alerts.model.levels import Level, target_level
from steptrail.consumers.alerts.model.notification import Told
from steptrail.consumers.alerts.model.reconcile import NOTHING_ERASED, Erased, difference, forgettable
from steptrail.consumers.alerts.topics import Board
from steptrail.consumers.kafka.record import Record
from steptrail.consumers.kafka.transactional_writer import TransactionalWriter
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")


class Dispatcher:
    """Keeps `board` and the topics the same.

    Everything that a turn decides is written in one transaction before anything is sent: whoever takes over knows
    of all that may have been sent. After TransactionLost read the topics and make another Dispatcher; `outcomes`
    holds what this one could not write.
    """

    def __init__(
        self,
        board: Board,
        writer: TransactionalWriter,
        workers: WorkerPool,
        topics: Topics,
        metrics: AlertsMetrics,
        outcomes: Iterable[Outcome] = (),
        link: Callable[[Level], str] = lambda _: "",
    ) -> None:
        self.board = board
        self.outcomes = list(outcomes)
        self.again_at = -math.inf
        self._writer = writer
        self._workers = workers
        self._topics = topics
        self._metrics = metrics
        self._link = link
        self.dead = {
            alert.labels["target"]: _level_of(alert)
            for alert in board.alerts.values()
            if alert.kind == TARGET and alert.firing and "target" in alert.labels
        }

    def resume(self, config: AlertsConfig) -> None:
        """Apply this configuration, and send the notifications that are still in flight."""
        self.dead = {name: level for name, level in self.dead.items() if name in config.targets}
        self._workers.use(config.targets, self.dead)
        self._collect()
        ended = {outcome.notification.id for outcome in self.outcomes}
        for notification in self.board.sending.values():
            if notification.id not in ended:
                self._workers.submit(notification)
        self.again_at = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether there is work without new input: notifications have ended, or are due."""
        self._collect()
        return bool(self.outcomes) or now >= self.again_at

    def turn(
        self,
        config: AlertsConfig,
        wanted: Mapping[str, Level],
        unknown: Callable[[Alert], bool],
        now: float,
        erased: Erased = NOTHING_ERASED,
    ) -> Plan:
        """Bring the topics to the wanted state and start to send what is due. `now`: seconds since the epoch.

        Raises TransactionLost.
        """
        now = round(now, 3)  # as the topics have it
        records = [record for outcome in self.outcomes for record in self._ended(outcome, now)]
        records += self._orphaned(config, now)
        levels = {**wanted, **{level.id: level for level in self.dead.values()}}
        for alert in difference(
            levels,
            self.board.alerts,
            now=now,
            ownership=config.policy.ownership,
            unknown=unknown,
            link=self._link,
            erased=erased,
        ):
            _log_change(self.board.alerts.get(alert.id), alert)
            self.board.alerts[alert.id] = alert
            records.append(Record(self._topics.alerts.name, alert.id, alert.to_bytes()))
        records += self._forgotten(now)
        board = self.board
        todo = plan(
            board.alerts, board.told, board.sending.values(), board.silences.values(), config.policy, now
        )
        for notification in todo.notifications:
            board.sending[notification.id] = notification
            if not notification.refresh:
                records.append(
                    Record(self._topics.notifications.name, notification.key, notification.to_bytes())
                )
        if records:
            self._writer.write(records)
        self.outcomes.clear()
        for notification in todo.notifications:
            self._workers.submit(notification)
        self.again_at = todo.again_at
        self._metrics.show(board, todo.held, self.dead)
        return todo

    def record_outcomes(self, now: float) -> None:
        """Write the outcomes of notifications, and nothing else. Raises TransactionLost."""
        self._collect()
        records = [record for outcome in self.outcomes for record in self._ended(outcome, round(now, 3))]
        if records:
            self._writer.write(records)
        self.outcomes.clear()

    def _collect(self) -> None:
        self.outcomes += self._workers.outcomes()

    def _ended(self, outcome: Outcome, now: float) -> list[Record]:
        """The records of a notification that was delivered, or died; none where they are written already."""
        sent = outcome.notification
        if self.board.sending.pop(sent.id, None) is None:
            return []
        self._metrics.ended(outcome)
        told_of = {"target": sent.target, "notification": sent.id, "alerts": len(sent.alerts)}
        if outcome.delivered:
            _log.info(
                "notification delivered", extra={**told_of, "group": sent.group, "attempts": outcome.attempts}
            )
            self.dead.pop(sent.target, None)
        else:
            _log.error(
                "notification dead after %d attempts: %s", outcome.attempts, outcome.said, extra=told_of
            )
            self.dead.setdefault(sent.target, target_level(sent.target, outcome.said, now))
        told = sent.told(now, sure=outcome.delivered)
        worth_a_record = [
            each for each in told if not (sent.refresh and outcome.delivered and self._is_known(each))
        ]
        self.board.told.update({(each.target, each.alert): each for each in told})
        records = [
            Record(self._topics.notifications.name, each.key, each.to_bytes()) for each in worth_a_record
        ]
        if not sent.refresh:
            records.append(Record(self._topics.notifications.name, sent.key, None))
        return records

    def _is_known(self, told: Told) -> bool:
        before = self.board.told.get((told.target, told.alert))
        return before is not None and replace(before, at=told.at) == told

    def _orphaned(self, config: AlertsConfig, now: float) -> list[Record]:
        """Notifications to targets that are no longer configured: they may have been delivered, or not."""
        records = []
        for sent in list(self.board.sending.values()):
            if sent.target not in config.targets:
                del self.board.sending[sent.id]
                told = sent.told(now, sure=False)
                self.board.told.update({(each.target, each.alert): each for each in told})
                records += [
                    Record(self._topics.notifications.name, each.key, each.to_bytes()) for each in told
                ]
                records.append(Record(self._topics.notifications.name, sent.key, None))
        return records

    def _forgotten(self, now: float) -> list[Record]:
        """Tombstones of alerts and silences that ended long ago, and of what was told of them."""
        board, records = self.board, []
        gone = set(forgettable(board.alerts, now=now))
        gone -= {alert.id for sent in board.sending.values() for alert in sent.alerts}
        for one in gone:
            del board.alerts[one]
            records.append(Record(self._topics.alerts.name, one, None))
        for key, told in list(board.told.items()) if gone else ():
            if told.alert in gone:
                del board.told[key]
                records.append(Record(self._topics.notifications.name, told.key, None))
        for each in list(board.silences.values()):
            if each.ends + silence.KEPT_S < now:
                del board.silences[each.id]
                records.append(Record(self._topics.silences.name, each.id, None))
        return records


def _level_of(alert: Alert) -> Level:
    """The level that a firing alert about a target stands for."""
    name = alert.labels["target"]
    return Level("", "", TARGET, alert.severity, alert.sentence, alert.since, name, {"target": name})


def _log_change(before: Alert | None, alert: Alert) -> None:
    if before is not None and (before.episode, before.status) == (alert.episode, alert.status):
        return
    said = {"alert": alert.id, "episode": alert.episode, "severity": alert.severity.value, "kind": alert.kind}
    _log.info(alert.status, extra={**said, "scope": alert.scope, "since": rfc3339(alert.since)})
