"""A broker that was killed and came back is asked again, by those who asked it before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from faults.world import World
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics, ensure_topics
from support.effort import ONLY_IN_TEST_ALL
from support.waiting import until

pytestmark = ONLY_IN_TEST_ALL


@pytest.fixture
def own_stack() -> Iterator[World]:
    """A broker that the test may kill; nothing else runs."""
    world = World()
    try:
        world.broker.start()
        yield world
    finally:
        world.__exit__(None, None, None)


def test_offsets_are_known_again_after_the_broker_was_killed(own_stack: World) -> None:
    """The leader's epoch is another one then, and whoever names the old one is refused for as long as he does."""
    settings = Settings(kafka=own_stack.at.kafka)
    ensure_topics(settings)
    topic = Topics.from_settings(settings).steps.name
    config = {**settings.kafka_config(), "log_level": 0}
    questions = BrokerQuestions(config, topic, timeout=5.0)
    watch = LagWatch(BrokerQuestions(config, topic, timeout=5.0))
    now = [0.0]

    def offsets() -> bool:
        try:
            return questions.end_offsets([0, 1]) == questions.first_offsets([0, 1]) == {0: 0, 1: 0}
        except InfrastructureError:
            return False

    def watched() -> bool:
        now[0] += 10.0
        watch.ends.clear()
        watch.refresh([0, 1], now[0])
        return watch.fault is None and watch.ends == {0: 0, 1: 0}

    for _ in range(3):
        until(offsets, "answer to a question")
        until(watched, "answer to the watch")
        own_stack.broker.restart()
    until(offsets, "answer to a question")
    until(watched, "answer to the watch")


ASKING = """
import sys
import threading

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.schemas.errors import InfrastructureError

questions = BrokerQuestions({"bootstrap.servers": sys.argv[1], "log_level": 0}, sys.argv[2], timeout=0.3)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
answered = 0
while not ended.is_set() or not answered:
    try:
        answered += questions.committed("g", [0, 1]) == {0: None, 1: None}
        questions.ends_by_level([0, 1])
        questions.describe()
    except InfrastructureError:
        answered = 0
"""


def test_whoever_asks_outlives_a_broker_that_dies_meanwhile(own_stack: World) -> None:
    """librdkafka aborts a process whose admin client waits for a group's coordinator then: we do not ask so."""
    settings = Settings(kafka=own_stack.at.kafka)
    ensure_topics(settings)
    topic = Topics.from_settings(settings).steps.name
    command = [sys.executable, "-c", ASKING, own_stack.at.kafka, topic]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    try:
        for _ in range(5):
            own_stack.broker.restart()
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
        assert [child.wait(120) for child in children] == [0, 0, 0, 0]
    finally:
        for child in children:
            child.kill()
