"""Workspaces on the three secured brokers of the tests, over any of their listeners."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

from bench.session import Session
from bench.stack import clean_environment
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas import Settings, Topics
from steptrail.schemas.access.rights import rights
from steptrail.schemas.topics import ensure_topics
from support.cluster.cluster import KafkaCluster
from support.cluster.secured import bindings
from support.stack import kafka_variables


def secured_workspace(session: Session, cluster: KafkaCluster, name: str, *, partitions: int = 6) -> Settings:
    """Topics on the cluster, a database on the session's engine; settings of the superuser over SASL_SSL."""
    url = urlsplit(session.stack.clickhouse)._replace(path=f"/{name}").geturl()
    settings = cluster.settings(
        clickhouse=url,
        topic_prefix=name,
        steps_partitions=partitions,
        replication_factor=3,
        min_insync_replicas=2,
    )
    ensure_topics(settings)
    # Over the plain listener everybody is ANONYMOUS.
    granted = rights(Topics(name))
    cluster.allow(bindings("User:ANONYMOUS", [*granted["projector"], *granted["emitter"]]))
    with connect(settings) as clickhouse:
        migrate(clickhouse)
    return settings


def over(settings: Settings, cluster: KafkaCluster, listener: str) -> Settings:
    """The same workspace over a listener: `scram` (SASL_SSL) or `plain`."""
    if listener == "scram":
        return settings
    return Settings(
        kafka=cluster.addresses("plain"), clickhouse=settings.clickhouse, topic_prefix=settings.topic_prefix
    )


def project(settings: Settings, events: int, **variables: str) -> dict[str, Any]:
    """Have a process project them, with `variables` in its environment; what `bench.ours` tells.

    Raises RuntimeError with its output when it fails.
    """
    environment = clean_environment(
        **kafka_variables(settings),
        STEPTRAIL_CLICKHOUSE=settings.clickhouse.get_secret_value(),
        STEPTRAIL_TOPIC_PREFIX=settings.topic_prefix,
        **variables,
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.ours", str(events)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the projector ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def forget(cluster: KafkaCluster, settings: Settings) -> None:
    """Delete a workspace's topics and database."""
    with connect(settings) as clickhouse:
        clickhouse.command(f"DROP DATABASE {settings.topic_prefix} SYNC")
    admin = cluster.new_admin()
    names = [topic.name for topic in Topics.from_settings(settings).all]
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)
