"""The real storage: emits to Kafka, reads what the projector has brought to ClickHouse."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicCollection
from typing_extensions import Self, Unpack

from steptrail.producers.arguments import check_doc_id
from steptrail.producers.emitter import StepEmitter
from steptrail.producers.secrets.redaction import Redaction
from steptrail.producers.secrets.redactors import Redactor
from steptrail.producers.storage import Emitted
from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.projections.reading.reader import Reader
from steptrail.projections.reading.recent_error_groups import RecentErrorGroups
from steptrail.projections.stores.expected_steps import declare_expected_steps
from steptrail.schemas.access.denials import error_said
from steptrail.schemas.access.rights import Right
from steptrail.schemas.admin_client import admin_client
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_values import SettingsOverrides
from steptrail.schemas.errors import ConfigurationError, InfrastructureError
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25


class ProjectedStorage:
    """A `Storage` (steptrail.producers.storage) of an emitter and a reader of the projected tables.

    What is emitted can be read as soon as the projector has passed it, usually within a second;
    `flush` and `wait_projected` wait for that. ClickHouse is reached at the first read, so a worker that
    only emits never needs it. Reads raise what `reader.Reader` says. It is pickled and copied as
    its emitter is.
    """

    def __init__(self, settings: Settings, emitter: StepEmitter) -> None:
        self._settings = settings
        self._emitter = emitter
        self._connection: tuple[int, ClickHouse, Reader] | None = None

    @property
    def pipeline(self) -> str:
        """The pipeline whose steps these are."""
        return self._emitter.pipeline

    @property
    def emitter(self) -> StepEmitter:
        """The emitting half: its accounting says what was accepted, delivered and lost."""
        return self._emitter

    @property
    def reader(self) -> Reader:
        """The reading half, for what the protocol has no method for: states, timelines, pages."""
        return self._connected()[1]

    def declare_expected_steps(self, steps: Collection[str]) -> bool:
        """Say which steps each document of this pipeline goes through; True when that is news.

        Writes to ClickHouse and waits for it, so it is for a program's start; see
        `steptrail.projections.stores.expected_steps.declare_expected_steps`, also for what it raises.
        """
        clickhouse, _ = self._connected()
        return declare_expected_steps(
            clickhouse, self.pipeline, steps, max_name_bytes=self._settings.max_name_bytes
        )

    def emit(
        self,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus,
        timestamp: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        error_message: str | None = None,
        error_type: str | None = None,
        execution_id: bytes | None = None,
        attempt: int | None = None,
        duration_ms: float | None = None,
        depends_on: Collection[str] | None = None,
        trace_id: str | None = None,
        progress: bool = False,
    ) -> Emitted:
        """Take one event; never waits for the network."""
        return self._emitter.emit(
            doc_id,
            step_name,
            status,
            timestamp,
            details,
            metrics,
            error_message,
            error_type,
            execution_id,
            attempt,
            duration_ms,
            depends_on,
            trace_id,
            progress,
        )

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_observed: bool = False,
    ) -> list[ProcessingStep]:
        """The events of one document, oldest first; `ResultTooLarge` past 100,000 of them."""
        return self.reader.steps(
            self.pipeline,
            check_doc_id(doc_id),
            statuses,
            start_time,
            end_time,
            include_observed=include_observed,
        )

    def get_recent_errors(
        self,
        since: datetime,
        *,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> list[RecentError]:
        """The newest errors at or after `since`; `ResultTooLarge` past 100,000 when no limit is given."""
        return self.reader.recent_errors(
            self.pipeline, since, include_warnings, limit, include_observed=include_observed
        )

    def get_recent_error_groups(
        self, since: datetime, *, include_warnings: bool = False, limit: int = 100
    ) -> RecentErrorGroups:
        """What `get_recent_errors` gives, by step, error type and template of the message; most errors first."""
        return self.reader.recent_error_groups(self.pipeline, since, include_warnings, limit)

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for deliveries; how many events are still pending."""
        return self._emitter.flush(timeout)

    def wait_projected(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until reads show every event that was accepted so far and not lost.

        False when the time was too short. When the time has passed and the store or the broker did not answer
        at the last attempt, their error is raised: it says more than False.
        """
        deadline = time.monotonic() + timeout
        if self._emitter.flush(timeout) > 0:
            return False
        wanted = self._emitter.delivered_offsets()
        pause = _FIRST_PAUSE_S
        topic_id: str | None = None
        while wanted:
            failure: InfrastructureError | None = None
            try:
                if topic_id is None:
                    topic_id = _topic_id(
                        self._settings, self._emitter.topic, max(deadline - time.monotonic(), 1.0)
                    )
                projected = self.reader.projected_offsets(
                    self._emitter.topic, topic_id, at_least=min(wanted.values())
                )
            except InfrastructureError as error:
                failure = error
            else:
                wanted = {p: offset for p, offset in wanted.items() if projected.get(p, -1) < offset}
            left = deadline - time.monotonic()
            if wanted and left <= 0:
                if failure is not None:
                    raise failure
                return False
            if wanted:
                time.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        return True

    def close(self, timeout: float = 2.0) -> None:
        """Deliver what can be delivered within `timeout` seconds and let go of all connections."""
        self._emitter.close(timeout)
        connection, self._connection = self._connection, None
        if connection is not None and connection[0] == os.getpid():
            connection[1].close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._settings, self._emitter)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> tuple[ClickHouse, Reader]:
        # A forked child must not talk through its parent's connections. Two threads may both come here first:
        # then one of two unconnected readers is forgotten, which is cheaper than a lock that a fork can break.
        connection = self._connection
        if connection is None or connection[0] != os.getpid():
            clickhouse = _connect(self._settings)
            connection = self._connection = (os.getpid(), clickhouse, Reader(clickhouse))
        return connection[1:]


def open_storage(
    settings: Settings | None = None,
    *,
    pipeline: str | None = None,
    redact: Redaction | Iterable[Redactor] | None = None,
    spool: str | os.PathLike[str] | None = None,
    **overrides: Unpack[SettingsOverrides],
) -> ProjectedStorage:
    """A storage on the Kafka and the ClickHouse that the settings name.

    Without `settings` they come from the environment (`STEPTRAIL_…`) or the running local stack; `pipeline` and
    `overrides` (fields of `Settings`) go before both; `redact` takes secrets out of what is emitted, and `spool` is a
    folder for what cannot be sent now, as `StepEmitter` says. Nothing is connected yet, so this does not fail when
    Kafka or ClickHouse is down. Raises ConfigurationError for bad settings.
    """
    emitter = StepEmitter(settings, pipeline=pipeline, redact=redact, spool=spool, **overrides)
    return ProjectedStorage(emitter.settings, emitter)


def _connect(settings: Settings) -> ClickHouse:
    try:
        import clickhouse_connect  # noqa: F401  which `connect` loads only when it connects

        from steptrail.projections.clickhouse.client import connect
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "clickhouse_connect":
            raise
        raise ConfigurationError(
            "reading needs the ClickHouse client: pip install 'steptrail[clickhouse]'"
            " (steptrail.producers.emit_only() is a storage that never reads)"
        ) from error
    return connect(settings)


def _topic_id(settings: Settings, topic: str, timeout: float) -> str:
    """The id of the topic as it is now: a topic that was created again has another, and other offsets."""
    # A client for one question: it is not kept, since it would not survive a fork. What goes wrong is raised.
    admin = admin_client({**settings.kafka_config(), "log_level": 0})
    try:
        answer = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic]
        return str(answer.result(timeout + 1.0).topic_id)
    except (KafkaException, TimeoutError) as error:
        raise StoreUnavailable(
            f"Kafka at {settings.kafka} did not describe topic {topic}: "
            f"{error_said(error, settings.kafka_config(), Right('Describe', 'topic', topic))}"
        ) from error
