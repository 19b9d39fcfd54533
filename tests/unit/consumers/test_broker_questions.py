"""How often a client is replaced of which Kafka refused a question."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from steptrail.consumers.kafka import broker
from steptrail.consumers.kafka.broker import REPLACED_EVERY_S, BrokerQuestions
from steptrail.schemas.errors import InfrastructureError


def test_a_client_that_was_refused_is_replaced_at_once_and_then_not_more_often_than_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each new client logs in to every broker: brokers that refuse for long are not kept busy with that."""
    made: list[object] = []
    now = [100.0]

    class Refused:
        def __init__(self, _config: Any) -> None:
            made.append(self)

        def list_offsets(self, wanted: Any, **_: Any) -> dict[Any, Future[Any]]:
            future: Future[Any] = Future()
            future.set_exception(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
            return dict.fromkeys(wanted, future)

    monkeypatch.setattr(broker, "admin_client", Refused)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    questions = BrokerQuestions({"bootstrap.servers": "127.0.0.1:1"}, "steps")
    clients = []
    for _ in range(40):
        with pytest.raises(InfrastructureError):
            questions.end_offsets([0])
        clients.append(len(made))
        now[0] += 0.5
    assert clients[:3] == [1, 2, 2]
    assert clients[-1] == 2 + int(19 / REPLACED_EVERY_S)


def test_who_asks_one_certain_broker_does_it_by_the_client_that_pauses_between_attempts() -> None:
    """The others only list topics, which any broker answers: see docs/decisions/0048."""
    roots = Path(__file__).parents[3]
    makers = {
        file.name
        for folder in ("schemas", "producers", "consumers", "projections", "deploy")
        for file in (roots / folder).rglob("*.py")
        if re.search(r"\bAdminClient\(", file.read_text(encoding="utf-8"))
    }
    assert makers == {"admin_client.py", "connection_check.py", "check.py"}
