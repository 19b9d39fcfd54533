"""Threads beside the ones that consume: a fault in one is told, and it goes on."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest

from steptrail.consumers.alerts import clickhouse_poller as sources
from steptrail.consumers.alerts.delivery import worker
from steptrail.consumers.alerts.delivery.http_post import Answer
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.notification import Notification
from steptrail.consumers.health.partition_ends import TopicWatch
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.feed import Leadership
from steptrail.schemas import Settings
from support.waiting import PATIENCE_S, until


def notification(number: int) -> Notification:
    return Notification(f"msg_{number}", "ops", "all", (), 10)


def test_an_outcome_that_cannot_be_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A target's worker goes on to the next notification, and the one before may be submitted again."""
    monkeypatch.setattr(worker, "send", lambda *_: Answer(200, "taken"))
    told: list[str] = []

    def done(outcome: worker.Outcome) -> None:
        told.append(outcome.notification.id)
        if len(told) == 1:
            raise RuntimeError("who is told fails")

    worked = worker.Worker(Target("ops", "webhook", "http://127.0.0.1:1/"), done)
    worked.submit(notification(1))
    until(lambda: told)
    worked.submit(notification(2))
    until(lambda: len(told) == 2)
    worked.submit(notification(1))
    until(lambda: len(told) == 3)
    worked.stop()
    worked.join(PATIENCE_S)
    assert told == ["msg_1", "msg_2", "msg_1"]
    assert "cannot tell what became of it" in caplog.text


def test_a_store_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks ClickHouse tries again, whatever opening it raises, and says what it is."""
    opened = 0

    def connect(*_: object, **__: object) -> Any:
        nonlocal opened
        opened += 1
        raise TypeError("no such argument")

    monkeypatch.setattr(sources, "connect", connect)
    monkeypatch.setattr(sources, "ASK_EVERY_S", 0.01)
    asking = sources.Sources(Settings(), lambda: True)
    until(lambda: opened >= 3)
    assert asking.fault == "ClickHouse's answer: TypeError"
    asking.close()
    assert "cannot be asked for" in caplog.text


def test_an_answer_of_kafka_that_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch of the topic says so, once in the log and in `fault`, and asks again."""
    asked = 0

    def nonsense(_self: TopicWatch) -> None:
        nonlocal asked
        asked += 1
        raise KeyError("topic")

    monkeypatch.setattr(TopicWatch, "_list", nonsense)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        questions = BrokerQuestions({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"}, "steps")
        leadership, stop = Leadership(), threading.Event()
        leadership.held = True
        watch = TopicWatch(questions, leadership, stop)
        with caplog.at_level(logging.WARNING):
            watch.start()
            until(lambda: asked >= 3)
        assert watch.fault == "KeyError in steptrail: see its log"
        stop.set()
        assert watch.join(PATIENCE_S)
    assert caplog.text.count("cannot take in what Kafka answered") == 1
