"""The leader of a partition is killed (kill -9) under load: the longest time without an acknowledgement.

Three secured brokers, replication 3, `min.insync.replicas` 2, one partition, 1,000 events a second. Kafka itself takes
`broker.session.timeout.ms` to miss a broker: 4 s on this cluster, 9 s by default.
"""

from __future__ import annotations

import time

from bench import topic
from bench.clustered import forget, secured_workspace
from bench.figure import Figure
from bench.session import Session
from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus, Topics
from support.cluster.cluster import kafka_cluster

BOUND_S = 15.0
RATE = 1_000
KILLS = 3
_TICK_S = 0.01


def measure(session: Session) -> Figure:
    """The longest over the kills; and what was lost or is there twice, which must be nothing."""
    gaps = []
    with kafka_cluster() as cluster:
        settings = secured_workspace(session, cluster, "bench_leader", partitions=1)
        emitter = StepEmitter(settings)
        for _ in range(1 if session.quick else KILLS):
            _gap(emitter, 2.0)
            node = cluster.leader(Topics(settings.topic_prefix).steps.name)
            node.kill()
            gaps.append(_gap(emitter, BOUND_S * 1.5))
            node.start()
        left = emitter.flush(60)
        accounting = emitter.accounting()
        emitter.close(10)
        there = topic.count(settings, Topics(settings.topic_prefix).steps.name)
        forget(cluster, settings)
    lost, double = max(0, accounting.accepted - there), max(0, there - accounting.accepted)
    longest = max(gaps)
    return Figure(
        "leader_killed_s",
        longest,
        "s",
        f"<= {BOUND_S:g}",
        longest <= BOUND_S and not (lost or double or left),
        {"gaps": gaps, "lost": lost, "double": double, "events": accounting.accepted},
    )


def _gap(emitter: StepEmitter, seconds: float) -> float:
    """Emit for so long; the longest time in which none was delivered."""
    began = heard = time.monotonic()
    delivered, longest, sent = emitter.accounting().delivered, 0.0, 0
    while (now := time.monotonic()) < began + seconds:
        while sent < (now - began) * RATE:
            emitter.emit(doc_id=f"doc-{sent}", step_name="ocr", status=ProcessingStatus.SUCCESS)
            sent += 1
        if (found := emitter.accounting().delivered) > delivered:
            longest, heard, delivered = max(longest, now - heard), now, found
        time.sleep(_TICK_S)
    return max(longest, time.monotonic() - heard)
