"""Each right is needed: without it something fails, and says by name which right is missing."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer

from steptrail.consumers.alerts.overview import new_silence, put_silence
from steptrail.consumers.alerts.topics import read_board
from steptrail.consumers.alerts.verdict_reader import VerdictReader
from steptrail.consumers.backup.catching_up import running
from steptrail.consumers.dlq.fetch import LetterReader
from steptrail.consumers.health.check import HealthCheckManager
from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.consumers.health.run import run_health
from steptrail.consumers.health.verdict_topic import VerdictTopic
from steptrail.consumers.kafka.record import Record
from steptrail.consumers.kafka.topic_retention import latest_stamp_us, topic_retentions
from steptrail.consumers.kafka.transactional_writer import TransactionalWriter
from steptrail.consumers.loop.lag import projector_lag
from steptrail.consumers.projector.run import run_projector
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.producers.handle import StepHandle
from steptrail.schemas.access.denials import error_said
from steptrail.schemas.access.rights import ROLES, Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topic_admin import TopicAdmin
from steptrail.schemas.topic_specs import TopicSpec
from steptrail.schemas.topics import Topics, ensure_topics
from steptrail.schemas.wire.schema_topic import publish_schema, published_schemas
from support.cluster.cluster import KafkaCluster
from support.cluster.secured import Secured, secured_pipeline
from support.contract_fixtures import noon, observation
from support.effort import ONLY_IN_TEST_ALL, effort
from support.newer import newer_value
from support.stack import Stack
from support.waiting import until

pytestmark = ONLY_IN_TEST_ALL

HANDLE = StepHandle(bytes(16), bytes(16), 1, "doc", "parse")
Duty = Callable[[Settings], object]


@pytest.fixture(scope="module")
def secured(cluster: KafkaCluster, stack: Stack) -> Iterator[Secured]:
    with secured_pipeline(cluster, stack) as made:
        ensure_topics(made.of("admin"))
        yield made


@contextmanager
def listening_to_logs() -> Iterator[list[str]]:
    """What is logged below `steptrail` meanwhile, and what exceptions say."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("steptrail")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def names(line: str, user: str, right: Right) -> bool:
    """Whether the line says who lacks what on which resource, and where the remedy is."""
    operations = {right.operation, "DescribeConfigs" if right.operation == "AlterConfigs" else "Describe"}
    said = any(f"User:{user} lacks the right {operation}" in line for operation in operations)
    return said and f"on the {right.kind} {right.name}" in line and "`steptrail acls`" in line


def admin(settings: Settings) -> None:
    ensure_topics(settings, timeout=10)
    with LogsErrors():  # all others are there already
        one_more = TopicSpec(f"{settings.topic_prefix}.{secrets.token_hex(4)}", 1, {})
        TopicAdmin(settings, 10).ensure([one_more], alter=False)
    publish_schema(settings)
    running(settings)


def emit(settings: Settings) -> None:
    manager = ProcessingStepManager(emit_only(settings))
    manager.add_step("doc", "parse", ProcessingStatus.SUCCESS)
    manager.close(timeout=30)


def project(settings: Settings) -> object:
    return _run(run_projector, settings)


def judge(settings: Settings) -> object:
    topics = Topics(settings.topic_prefix)
    with LogsErrors():
        published_schemas(settings)
    with LogsErrors():
        ObservationTopic(settings, timeout=5).publish([observation("p", HANDLE, 1, noon())])
    with LogsErrors():
        verdicts = VerdictTopic(settings.kafka_config(), topics.health.name, topics.health_group)
        verdicts.publish([(("p", "s"), {"status": "HEALTHY"})])
    return _run(run_health, settings)


def alert(settings: Settings) -> object:
    topics = Topics(settings.topic_prefix)
    with LogsErrors():
        read_board(settings, 20)
    with LogsErrors():
        reader = VerdictReader(settings)
        try:
            until(lambda: reader.poll(0.2) and reader.complete, "verdicts", 20)
        finally:
            reader.close()
    writer = TransactionalWriter(settings.kafka_config(), topics.alerts_group, timeout=20)
    for topic in (topics.alerts, topics.notifications, topics.silences):
        writer.write([Record(topic.name, "key", None)])
    return None


def operate(settings: Settings) -> object:
    topics = Topics(settings.topic_prefix)
    config = settings.kafka_config()
    for ask in (
        lambda: read_board(settings, 20),
        lambda: put_silence(
            settings,
            new_silence(pipeline="p", step="*", kind="*", now=time.time(), seconds=1, reason="", by="me"),
        ),
        lambda: published_schemas(settings),
        lambda: LetterReader(config, topics.dlq.name).read([(0, 0)]),
        lambda: _send(settings, topics.steps.name),  # which nobody projects: the tables are behind
        lambda: _log(*projector_lag(settings).problems),
        lambda: _checked(settings),
    ):
        with LogsErrors():
            ask()
    return None


def operate_and_erase(settings: Settings) -> object:
    with LogsErrors():
        topic_retentions(settings)
    with LogsErrors():
        latest_stamp_us(settings)
    return operate(settings)


class LogsErrors:
    """Has what is raised in its block logged, as a command shows it, and goes on."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, (SteptrailError, TimeoutError)):
            _log(str(error))
            return True
        return False


def _log(*lines: str) -> None:
    for line in lines:
        logging.getLogger("steptrail.test").error("%s", line)


def _run(service: Callable[..., int], settings: Settings) -> threading.Event:
    stop = threading.Event()

    def work() -> None:
        with LogsErrors():
            service(settings, stop)

    threading.Thread(target=work).start()
    return stop


DUTIES: dict[str, Duty] = {
    "admin": admin,
    "emitter": emit,
    "projector": project,
    "health": judge,
    "alerts": alert,
    "operator": operate_and_erase,
    "web": operate,
}


def _send(settings: Settings, topic: str, value: bytes = b"no event") -> None:
    """As a redrive does it."""
    producer = Producer(settings.kafka_config())
    failures: list[Any] = []
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    _log(
        *(
            error_said(error, settings.kafka_config(), Right("Write", "topic", topic))
            for error in failures
            if error
        )
    )


def _checked(settings: Settings) -> None:
    with HealthCheckManager(settings) as manager:
        _log(*(finding.sentence for finding in manager.perform_health_check().findings))


@pytest.mark.parametrize("role", ROLES)
def test_a_right_that_is_missing_is_named(secured: Secured, role: str) -> None:
    """Without any one of a role's rights what it does fails, and says which principal lacks which right on what."""
    granted = secured.rights[role]
    superfluous = []
    for right in random.Random(role).sample(granted, effort(2, len(granted))):
        settings = secured.without(role, right)
        user = settings.kafka_sasl_username or ""
        if role == "projector":
            for value in (b"no event", newer_value()):
                _send(secured.of("emitter"), secured.topics.steps.name, value)
        with listening_to_logs() as lines:

            def named(user: str = user, right: Right = right, lines: list[str] = lines) -> bool:
                return any(names(line, user, right) for line in lines)

            stop: object = None
            rounds = patience = 0
            # Brokers learn of new rights one after the other; a round in which one did not answer says nothing.
            while not named() and rounds < 3 and patience < 12:
                before = len(lines)
                with LogsErrors():
                    stop = DUTIES[role](settings)
                if isinstance(stop, threading.Event):
                    try:
                        until(named, "such line", 120)
                    except TimeoutError:
                        pass
                    finally:
                        stop.set()
                patience += 1
                rounds += not any("did not answer in time" in line for line in lines[before:])
            if not named():
                superfluous.append(
                    (right, [line for line in dict.fromkeys(lines) if "lacks" in line or user in line])
                )
    assert superfluous == []
