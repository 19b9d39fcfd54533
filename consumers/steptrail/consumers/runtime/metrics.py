"""Prometheus metrics of a projection."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as _exposition

_BATCH_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
_BATCH_EVENTS = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000)


class ProjectorMetrics:
    """Metrics of one projection; every name begins with `name`. Several may share a `registry`."""

    def __init__(self, name: str = "steptrail_projector", registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.events = Counter(f"{name}_events", "Records consumed, dead letters included", registry=registry)
        self.projected = Counter(f"{name}_projected", "Events written to every table", registry=registry)
        self.bytes = Counter(f"{name}_bytes", "Bytes of the records consumed", registry=registry)
        self.batches = Counter(f"{name}_batches", "Batches written", registry=registry)
        self.batch_seconds = Histogram(
            f"{name}_batch_seconds", "Time to write a batch", buckets=_BATCH_SECONDS, registry=registry
        )
        self.batch_events = Histogram(
            f"{name}_batch_events", "Records in a batch", buckets=_BATCH_EVENTS, registry=registry
        )
        self.dead_letters = Counter(
            f"{name}_dead_letters", "Records sent to the dead-letter topic", ["reason"], registry=registry
        )
        self.isolations = Counter(f"{name}_isolations", "Batches with bad records", registry=registry)
        self.gap_events = Counter(
            f"{name}_gap_offsets",
            "Offsets lost: expired before they were read",
            ["partition"],
            registry=registry,
        )
        self.claims = Counter(f"{name}_claims", "Partitions claimed in the ledger", registry=registry)
        self.faults = Counter(
            f"{name}_faults",
            "Attempts that failed because Kafka or ClickHouse was unavailable",
            registry=registry,
        )
        self.lag_events = Gauge(
            f"{name}_lag_events",
            "Records in the topic that are not projected yet",
            ["partition"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            f"{name}_lag_seconds",
            "Age of the oldest record that is not projected yet",
            ["partition"],
            registry=registry,
        )
        self.position = Gauge(
            f"{name}_position", "Offset after the last projected record", ["partition"], registry=registry
        )
        self.waiting = Gauge(
            f"{name}_waiting", "1 while the consumer waits for `reason`", ["reason"], registry=registry
        )
        self.running = Gauge(f"{name}_running", "1 while the consumer reads and writes", registry=registry)
        self.last_commit = Gauge(
            f"{name}_last_commit_timestamp_seconds",
            "Unix time of the last commit of offsets",
            registry=registry,
        )

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return _exposition(self.registry)

    def forget_partition(self, partition: int) -> None:
        """Remove the gauges of a partition that another consumer reads now."""
        for gauge in (self.lag_events, self.lag_seconds, self.position):
            gauge.remove_by_labels({"partition": str(partition)})
