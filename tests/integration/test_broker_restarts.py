"""A broker that was killed and came back is asked again, by those who asked it before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.world import World
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics, ensure_topics
from support.waiting import until


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
