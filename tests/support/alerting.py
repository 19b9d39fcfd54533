"""Verdicts as the health consumer publishes them, and alerting consumers to act on them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.consumers.alerts import run_alerts
from steptrail.consumers.health.rules import Finding, HealthStatus, Verdict
from steptrail.schemas import Settings
from steptrail.schemas.topics import Topics
from support.listener import SECRET
from support.stack import environ_of
from support.waiting import PATIENCE_S, until

START = 1_790_000_000.0


def verdict(
    step: str | None,
    status: str = "WARNING",
    *,
    pipeline: str | None = "invoices",
    rule: str = "errors",
    since: float = START,
    findings: tuple[Finding, ...] | None = None,
) -> Verdict:
    """A verdict with one finding that speaks for it."""
    if findings is None:
        finding = Finding(rule, HealthStatus(status), f"{step} is {status}: 33 of 157 failed", since)
        findings = (finding,)
    return Verdict(pipeline, step, HealthStatus(status), since, since + 5, findings)


def publish(settings: Settings, *verdicts: Verdict, forgotten: tuple[tuple[str, str], ...] = ()) -> None:
    """Put verdicts on the health topic, as documented; `forgotten` steps as tombstones."""
    producer = Producer(settings.kafka_config())
    topic = Topics(settings.topic_prefix).health.name
    for each in verdicts:
        key = f"{each.pipeline or ''}\x1f{each.step or ''}"
        producer.produce(topic, key=key.encode(), value=json.dumps({**each.as_dict(), "slot": 1}).encode())
    for pipeline, step in forgotten:
        producer.produce(topic, key=f"{pipeline}\x1f{step}".encode(), value=None)
    assert producer.flush(30) == 0


def alerts_file(folder: Path, text: str) -> Path:
    """An alerts file, and beside it the listeners' secret."""
    (folder / "secret").write_text(SECRET, encoding="utf-8")
    path = folder / "alerts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def webhook(name: str, url: str, more: str = "") -> str:
    """A signed target that is patient for tests: short pauses."""
    return f"""
[[target]]
name = "{name}"
type = "webhook"
url = "{url}"
secret_file = "secret"
backoff = "50ms"
backoff_most = "200ms"
{more}
"""


QUICK = """
[defaults]
group_wait = "200ms"
group_interval = "300ms"
repeat_interval = "1h"
"""


def route(*targets: str, more: str = "") -> str:
    return f"[[route]]\ntargets = {json.dumps(targets)}\n{more}\n"


@contextmanager
def alerting(settings: Settings) -> Iterator[threading.Event]:
    """An alerting consumer in a thread; it must end in order."""
    stop = threading.Event()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_alerts(settings, stop)))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert codes == [0]


@contextmanager
def alerting_process(settings: Settings, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`steptrail run alerts` as a process of its own, of a static place in its group; killed at the end."""
    command = [sys.executable, "-m", "steptrail.deploy.cli", "run", "alerts", "--file", str(file)]
    environ = environ_of(settings, STEPTRAIL_GROUP_INSTANCE_ID="one")
    with (file.parent / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environ, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rewind(settings: Settings, group: str, topic_name: str) -> None:
    """Have the group begin again in every partition of the topic; waits until members that were killed are missed."""
    admin = AdminClient(settings.kafka_config())
    numbers = admin.list_topics(topic_name, timeout=30).topics[topic_name].partitions
    places = [TopicPartition(topic_name, number, 0) for number in numbers]

    def rewound() -> bool:
        [answer] = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]).values()
        return all(place.error is None for place in answer.result(30).topic_partitions)

    until(rewound, "rewound group")
