"""Questions to a broker that is away, on three real ones: they fail in time, and cost next to nothing until then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its stubs leave some out

from support.cluster.cluster import KafkaCluster
from support.effort import ONLY_IN_TEST_ALL
from support.stack import environ_of

pytestmark = ONLY_IN_TEST_ALL

TOPIC = "broker-away"
ASKS = """
import contextlib, sys
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError

config = {**Settings().kafka_config(), "debug": "broker", "log_level": 7}
questions = BrokerQuestions(config, sys.argv[1], timeout=2.0)
assert questions.describe().partitions == 6
assert len(questions.end_offsets(range(6))) == 6
print("asked", flush=True)
sys.stdin.readline()
for _ in range(3):
    with contextlib.suppress(InfrastructureError):
        questions.end_offsets(range(6))
    with contextlib.suppress(InfrastructureError):
        questions.describe()
"""


@pytest.fixture
def topic(cluster: KafkaCluster) -> str:
    admin = cluster.new_admin()
    for created in admin.create_topics([NewTopic(TOPIC, 6, 3)]).values():
        created.result(30)
    cluster.wait_whole()
    return TOPIC


def test_a_question_to_a_broker_that_is_away_does_not_connect_without_a_pause(
    cluster: KafkaCluster, topic: str, tmp_path: Path
) -> None:
    """Tens of attempts in a few seconds, where they were tens of thousands and took most of a processor."""
    log = tmp_path / "log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            [sys.executable, "-c", ASKS, topic],
            env=environ_of(cluster.settings()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as asks,
    ):
        assert asks.stdout is not None
        assert asks.stdout.readline() == "asked\n", log.read_text()[-3000:]
        try:
            cluster.leader(topic).kill()
            asks.communicate("go on\n", timeout=120)
        finally:
            cluster.heal()
    assert asks.returncode == 0, log.read_text()[-3000:]
    assert 0 < log.read_text().count("Connecting to") < 200
