"""The topic of schemas: what events look like, for readers that are older than the writers.

Each version that writes events publishes its schema there, under its fingerprint, before it is used: by
`steptrail topics`, and when a local stack starts. The topic is compacted, so it holds each schema once, without end.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from steptrail.schemas.access.denials import error_said, is_of_no_group
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topic_specs import Topics
from steptrail.schemas.wire.bundled import STEP_EVENT_FINGERPRINT, STEP_EVENT_SCHEMA, fingerprint

_log = logging.getLogger("steptrail.kafka")

TIMEOUT_S: Final = 10.0


class SchemaTopicUnavailable(InfrastructureError):
    """The topic of schemas does not answer, or is not there: `steptrail topics` creates it."""


def publish_schema(
    settings: Settings, schema: Mapping[str, Any] = STEP_EVENT_SCHEMA, *, timeout: float = TIMEOUT_S
) -> None:
    """Put the schema of this version's events on the topic; safe to repeat. Raises SchemaTopicUnavailable."""
    topic = Topics.from_settings(settings).schemas.name
    found = STEP_EVENT_FINGERPRINT if schema is STEP_EVENT_SCHEMA else fingerprint(dict(schema))
    failures: list[KafkaError] = []
    try:
        producer = Producer(
            {
                **settings.kafka_config(),
                "acks": "all",
                "message.timeout.ms": int(timeout * 1000),
                "logger": _log,
            }
        )
        producer.produce(
            topic,
            json.dumps(schema).encode(),
            found.hex().encode(),
            0,
            lambda error, _: failures.append(error) if error is not None else None,
        )
        left = producer.flush(timeout)
    except KafkaException as error:
        raise SchemaTopicUnavailable(_said(settings, Right("Write", "topic", topic), error.args[0])) from None
    if failures or left:
        needed = Right("Write", "topic", topic)
        raise SchemaTopicUnavailable(_said(settings, needed, failures[0] if failures else "no answer"))


def published_schemas(settings: Settings, *, timeout: float = TIMEOUT_S) -> dict[bytes, dict[str, Any]]:
    """Every schema on the topic by its fingerprint; what is none is passed over. Raises SchemaTopicUnavailable."""
    topic = Topics.from_settings(settings).schemas.name
    found: dict[bytes, dict[str, Any]] = {}
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": f"{settings.topic_prefix}-schemas",  # none that joins: nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "logger": _log,
        }
    )
    until = time.monotonic() + timeout
    try:
        missing = consumer.list_topics(topic, timeout=timeout).topics[topic].error
        if missing is not None:  # reading would only time out
            raise SchemaTopicUnavailable(_said(settings, Right("Read", "topic", topic), missing))
        consumer.assign([TopicPartition(topic, 0, 0)])
        while time.monotonic() < until:
            for message in consumer.consume(1_000, 0.2):
                error = message.error()
                if error is None:
                    found.update(_schema_in(message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    return found
                elif not (error.retriable() or is_of_no_group(error)):
                    raise SchemaTopicUnavailable(_said(settings, Right("Read", "topic", topic), error))
    except KafkaException as error:
        raise SchemaTopicUnavailable(_said(settings, Right("Read", "topic", topic), error.args[0])) from None
    finally:
        consumer.close()
    raise SchemaTopicUnavailable(_said(settings, Right("Read", "topic", topic), "no answer"))


def _schema_in(value: Any) -> dict[bytes, dict[str, Any]]:
    try:
        schema = json.loads(value)
        return {fingerprint(schema): schema} if isinstance(schema, dict) else {}
    except Exception:  # whatever stands there, it is no schema
        return {}


def _said(settings: Settings, needed: Right, why: object) -> str:
    return f"the topic {needed.name}: {error_said(why, settings.kafka_config(), needed)}"
