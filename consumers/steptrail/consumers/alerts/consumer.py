"""The loop of the alerting consumer: who is active, what is wrong, and the turns of its dispatcher."""

from __future__ import annotations

import logging
import threading
import time

from steptrail.consumers.alerts.clickhouse_poller import SIGHT, Sources
from steptrail.consumers.alerts.config.config import AlertsConfig
from steptrail.consumers.alerts.delivery.worker import Outcome
from steptrail.consumers.alerts.delivery.worker_pool import WorkerPool
from steptrail.consumers.alerts.dispatcher import Dispatcher
from steptrail.consumers.alerts.examples import Examples
from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.alerts.model.alert import ERROR_GROUP, TARGET, Alert
from steptrail.consumers.alerts.model.levels import wanted
from steptrail.consumers.alerts.model.links import linking
from steptrail.consumers.alerts.topics import BoardReader
from steptrail.consumers.alerts.verdict_reader import VerdictReader
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.transactional_writer import TransactionalWriter
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.runtime.backoff import Backoff
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.consumers.runtime.status import PartitionStatus, State, Status
from steptrail.consumers.runtime.watched_file import WatchedFile
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")
_kafka_log = logging.getLogger("steptrail.kafka")

TURN_S = 0.2
WRITE_TIMEOUT_S = 20.0


class AlertingConsumer:
    """The parts of the alerting consumer, and the loop that moves them on."""

    def __init__(
        self, settings: Settings, config: WatchedFile[AlertsConfig], status: Status, metrics: AlertsMetrics
    ) -> None:
        topics = Topics(settings.topic_prefix)
        self.status = status
        self._settings, self._topics = settings, topics
        self._config, self._metrics = config, metrics
        self._verdicts = VerdictReader(settings)
        self._sources = Sources(settings, lambda: config.value.policy.asks_for_groups)
        self._examples = Examples(settings)
        self._workers = WorkerPool()
        self._work: _Work | None = None
        self._unwritten: list[Outcome] = []
        self._backoff = Backoff()
        self._not_before = 0.0
        self._fault: str | None = "the consumer group to let it in"
        self._joined = False
        self._lag = LagWatch(
            BrokerQuestions({**settings.kafka_config(), "logger": _kafka_log}, topics.health.name)
        )

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then leave within the shutdown's deadline."""
        try:
            while not stop.is_set():
                self._turn()
        finally:
            self._leave(Deadline(self._settings.shutdown_timeout_s))

    def _turn(self) -> None:
        """Read what there is, publish what changes, start to send what is due; waits a fifth of a second at most."""
        self.status.last_turn = time.monotonic()
        try:
            self._verdicts.poll(TURN_S)
            self._joined = self._joined or self._verdicts.joined
            reloaded = self._config.refresh()
            if not self._verdicts.active:
                self._stand_by()
            elif self._verdicts.complete and time.monotonic() >= self._not_before:
                self._act(reloaded)
        except InfrastructureError as error:
            self._failed(error)
        self._show()

    def _leave(self, deadline: Deadline) -> None:
        """End the attempts in flight, record their outcomes, leave the group."""
        self.status.enter(State.STOPPING)
        self._workers.stop()
        self._workers.join(deadline.share(0.7))
        if self._work is not None and self._verdicts.active:
            try:
                self._work.dispatcher.record_outcomes(time.time())
            except InfrastructureError as error:
                _log.warning("the last deliveries are not recorded, and will be sent again: %s", error)
        self._drop_work()
        self._sources.close()
        self._examples.close()
        self._verdicts.close()
        self.status.enter(State.STOPPED)
        _log.info("stopped")

    def _act(self, reloaded: bool) -> None:
        if self._work is None:
            self._work = _Work(
                self._settings,
                self._topics,
                self._workers,
                self._metrics,
                self._unwritten,
                self._config.value,
            )
            self._unwritten = []
            _log.info("alerting", extra={"alerts": len(self._work.board.alerts)})
        elif reloaded:
            self._work.dispatcher.resume(self._config.value)
        self._work.advance(self._verdicts, self._sources, self._examples, self._config.value)
        self._verdicts.commit()
        self._backoff.succeeded()
        self._fault = None

    def _stand_by(self) -> None:
        if self._work is not None:
            _log.info("another member of the group has taken over")
            self._workers.stop()
            self._drop_work()
            self._unwritten = []
        if self._joined:
            self._fault = None

    def _failed(self, error: InfrastructureError) -> None:
        delay = self._backoff.failed()
        self._not_before = time.monotonic() + delay
        self._fault = str(error)
        self._metrics.faults.inc()
        _log.warning("waiting for %s", error, extra={"retry_in_seconds": round(delay, 2)})
        self._drop_work()

    def _drop_work(self) -> None:
        if self._work is not None:
            # The workers go on: what they send is on the topic, and its outcome is recorded later.
            self._unwritten += self._work.dispatcher.outcomes
            self._work.close()
            self._work = None

    def _show(self) -> None:
        active = self._work is not None
        self._lag.refresh([0] if self._verdicts.active else [], time.monotonic())
        reason = self._fault or self._lag.fault
        if reason is not None or not self._joined:
            changed = self.status.enter(State.WAITING, reason or "the consumer group to let it in")
        else:
            changed = self.status.enter(State.RUNNING)
        if changed:
            _log.info(
                self.status.state.value, extra={"active": active, "waiting_for": self.status.waiting_for}
            )
        if self._verdicts.active:
            shown = self.status.partitions.setdefault(0, PartitionStatus())
            shown.written, shown.end = self._verdicts.next_offset, self._lag.ends.get(0)
        else:
            self.status.partitions.clear()
        metrics = self._metrics
        metrics.active.set(active)
        metrics.running.set(self.status.state is State.RUNNING)
        metrics.verdicts.set(self._verdicts.heard)
        metrics.config_valid.set(self._config.fault is None)


class _Work:
    """What the active member has open: the writer, and the state of the topics since it was opened."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        workers: WorkerPool,
        metrics: AlertsMetrics,
        unwritten: list[Outcome],
        config: AlertsConfig,
    ) -> None:
        # In this order: once the writer is open nobody else writes, so what is read then is final.
        self._writer = TransactionalWriter(
            settings.kafka_config(), topics.alerts_group, timeout=WRITE_TIMEOUT_S
        )
        self._reader = BoardReader(settings)
        try:
            self.board = self._reader.read_all()
            self._reader.follow_silences()
        except BaseException:
            self.close()
            raise
        self.dispatcher = Dispatcher(
            self.board, self._writer, workers, topics, metrics, unwritten, linking(settings.link_base)
        )
        self.dispatcher.resume(config)
        self._seen: tuple[int, int, int] | None = None

    def advance(
        self, verdicts: VerdictReader, sources: Sources, examples: Examples, config: AlertsConfig
    ) -> None:
        """Run a turn of the dispatcher, if there is new input or anything is due."""
        seen, now = (verdicts.version, sources.version, examples.version), time.time()
        news = self._reader.poll()
        if news or seen != self._seen or self.dispatcher.is_due(now):
            never_heard = verdicts.heard == 0

            def unknown(alert: Alert) -> bool:
                # A health topic without a single verdict says nothing of anybody's health.
                elsewhere = alert.kind in (ERROR_GROUP, TARGET) or (
                    alert.kind == SIGHT and not alert.pipeline
                )
                return sources.unknown(alert) or (never_heard and not elsewhere)

            levels = wanted(
                verdicts.levels.values(), sources.levels(), of_pipelines=config.policy.of_pipelines
            )
            examples.watch(self.board.alerts.values())
            self.dispatcher.turn(config, examples.of(levels), unknown, now, examples.erased)
            self._seen = seen

    def close(self) -> None:
        """Let go of the connections."""
        self._writer.close()
        self._reader.close()
