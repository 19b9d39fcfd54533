"""Asks Kafka, over and over, which partitions a topic has and where they end: what proves an idle partition idle."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

_log = logging.getLogger("steptrail.consumers.judging")

LIST_EVERY_S = 2.0
PROBE_EVERY_S = 1.0
ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Listing:
    """The topic had `count` partitions; asked at `sent_at` (seconds since the epoch)."""

    sent_at: float
    count: int


@dataclass(frozen=True)
class Probe:
    """Where a partition ended when it was asked at `sent_at`; None is an answer that did not come."""

    sent_at: float
    committed_end: int | None
    end: int | None


class TopicWatch:
    """Keeps the latest answers about `topic`; asks in a thread of its own while `wanted` says so.

    Asked by consumers that read nothing, one for each isolation level, since a consumer asks at its own: an admin
    client has crashed when a broker was away. After a fault they are made anew: those of before may name an old
    leader for long. `fault` says why the latest question had no answer.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        wanted: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._topic = topic
        self._wanted = wanted
        self._clock = clock
        self._config = {**config, "group.id": "steptrail-watch", "enable.auto.commit": False}
        self._asking: tuple[Consumer, Consumer] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steptrail-topic-watch", daemon=True)
        self.listing: Listing | None = None
        self.probes: Mapping[int, Probe] = {}
        self.fault: str | None = None

    @property
    def count(self) -> int:
        """How many partitions the topic has, as far as is known; 0 before the first answer."""
        return self.listing.count if self.listing is not None else 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """End, within `timeout` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._hang_up()

    def _run(self) -> None:
        listed_at = float("-inf")
        while not self._stop.wait(PROBE_EVERY_S if self.listing is not None else 0.1):
            try:
                if not self._wanted():
                    continue
                if time.monotonic() - listed_at >= LIST_EVERY_S:
                    self._list()
                    listed_at = time.monotonic()
                self._probe()
            except KafkaException as error:
                reason = error.args[0] if error.args else error
                self._hang_up()
                self._say(f"Kafka: {reason.str() if isinstance(reason, KafkaError) else reason}")
            except Exception as error:  # a fault of ours must not end the thread unheard
                if self.fault is None:
                    _log.exception("cannot take in what Kafka answered")
                self._hang_up()
                self._say(f"{type(error).__name__} in steptrail: see its log")
            else:
                self._say(None)

    def _list(self) -> None:
        sent_at = self._clock()
        found = self._consumers()[0].list_topics(self._topic, timeout=ASK_TIMEOUT_S).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        known = self.listing.count if self.listing is not None else 0
        if len(found.partitions) < known:
            return  # a broker that has not heard of all of them yet
        self.listing = Listing(sent_at, len(found.partitions))

    def _probe(self) -> None:
        sent_at = self._clock()
        committed, uncommitted = (self._ends(consumer) for consumer in self._consumers())
        missing = [p for p in range(self.count) if p not in committed or p not in uncommitted]
        self.probes = {p: Probe(sent_at, committed.get(p), uncommitted.get(p)) for p in range(self.count)}
        if missing:
            raise KafkaException(f"no answer for partitions {missing} of {self._topic}")

    def _consumers(self) -> tuple[Consumer, Consumer]:
        """One that asks for what is committed, and one for all."""
        if self._asking is None:
            levels = ("read_committed", "read_uncommitted")
            one, other = (Consumer({**self._config, "isolation.level": level}) for level in levels)
            self._asking = one, other
        return self._asking

    def _hang_up(self) -> None:
        asking, self._asking = self._asking, None
        for consumer in asking or ():
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _ends(self, consumer: Consumer) -> dict[int, int]:
        wanted = [TopicPartition(self._topic, number, OFFSET_END) for number in range(self.count)]
        found = consumer.offsets_for_times(wanted, timeout=ASK_TIMEOUT_S) if wanted else []
        return {entry.partition: entry.offset for entry in found if entry.error is None and entry.offset >= 0}

    def _say(self, fault: str | None) -> None:
        if fault is not None and self.fault is None:
            _log.warning("the topic's ends are not known: %s", fault)
        self.fault = fault
