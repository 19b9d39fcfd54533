"""Alerts with what holds them back and who was notified, for the command line."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from steptrail.consumers.alerts.model.alert import Alert, rfc3339
from steptrail.consumers.alerts.model.engine import Held, held_back
from steptrail.consumers.alerts.model.notification import Told
from steptrail.consumers.alerts.model.policy import AlertPolicy
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.topics import Board
from steptrail.consumers.kafka.errors import BrokerUnavailable, infrastructure_error
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

WRITE_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Shown:
    """An alert and its notifications: `told` are the last per target, `waiting` the targets that have none yet."""

    alert: Alert
    held: Held | None
    told: tuple[Told, ...]
    waiting: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the alert's fields, `held`, and `told` with a row for each target."""
        held = self.held
        return {
            **self.alert.as_dict(),
            "held": None
            if held is None
            else {
                "by": held.by,
                "silence": held.silence,
                "until": None if held.until is None else rfc3339(held.until),
            },
            "told": [
                {
                    "target": each.target,
                    "status": each.status,
                    "episode": each.episode,
                    "severity": each.severity.value,
                    "at": rfc3339(each.at),
                    "sure": each.sure,
                }
                for each in self.told
            ],
            "waiting": list(self.waiting),
        }


def overview(board: Board, policy: AlertPolicy, now: float, *, resolved: bool = False) -> list[Shown]:
    """The alerts that fire, those that have fired longest first; with `resolved` also those that ended, after them.

    Silences hold whatever the policy says; what is inhibited, and who waits for a notification, is by the policy.
    """
    held, _ = held_back(board.alerts, board.silences.values(), policy, now)
    alerts = [alert for alert in board.alerts.values() if alert.firing or resolved]
    alerts.sort(
        key=lambda alert: (not alert.firing, alert.since if alert.firing else -_ended(alert), alert.id)
    )
    return [_shown(alert, board, policy, held) for alert in alerts]


def _shown(alert: Alert, board: Board, policy: AlertPolicy, held: Mapping[str, Held]) -> Shown:
    told = sorted((each for each in board.told.values() if each.alert == alert.id), key=lambda t: t.target)
    knowing = {
        each.target
        for each in told
        if each.sure and each.episode == alert.episode and each.status == alert.status
    }
    wanting = set(policy.routes_of(alert)) if alert.firing and alert.id not in held else set()
    on_their_way = {
        sent.target for sent in board.sending.values() if any(a.id == alert.id for a in sent.alerts)
    }
    return Shown(alert, held.get(alert.id), tuple(told), tuple(sorted((wanting - knowing) | on_their_way)))


def _ended(alert: Alert) -> float:
    return -math.inf if alert.ended_at is None else alert.ended_at


def new_silence(
    *, pipeline: str, step: str, kind: str, now: float, seconds: float, reason: str, by: str
) -> Silence:
    """A silence from `now` on, for so many seconds."""
    return Silence(secrets.token_hex(4), pipeline, step, kind, now, now + seconds, reason, by)


def put_silence(settings: Settings, silence: Silence) -> None:
    """Write it, or what it is now; returns when Kafka has it. Raises BrokerUnavailable and TopicMissing."""
    topic = Topics(settings.topic_prefix).silences.name
    config = settings.kafka_config()
    needed = Right("Write", "topic", topic)
    failed: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(error)

    try:
        producer = Producer(
            {**config, "acks": "all", "message.timeout.ms": int(WRITE_TIMEOUT_S * 1000), "log_level": 0}
        )
        producer.produce(topic, key=silence.id.encode(), value=silence.to_bytes(), on_delivery=on_delivery)
        left = producer.flush(WRITE_TIMEOUT_S + 1.0)
    except KafkaException as error:
        raise infrastructure_error(error, config, topic, needed) from None
    if failed:
        raise infrastructure_error(failed[0], config, topic, needed)
    if left:
        raise BrokerUnavailable(f"Kafka at {settings.kafka} did not answer within {WRITE_TIMEOUT_S:g} s")
