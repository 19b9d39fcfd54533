"""Polls Kafka for a topic's partitions and their end offsets, which prove that a partition is idle."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.errors import BrokerUnavailable
from steptrail.consumers.loop.feed import Leadership
from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.judging")

LIST_EVERY_S = 2.0
PROBE_EVERY_S = 1.0
ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Listing:
    """The topic had `count` partitions; requested at `sent_at` (seconds since the epoch)."""

    sent_at: float
    count: int


@dataclass(frozen=True)
class Probe:
    """A partition's end offsets, requested at `sent_at`, at both isolation levels; None without an answer."""

    sent_at: float
    committed_end: int | None
    end: int | None


class TopicWatch(BackgroundPart):
    """Keeps the latest answers about the topic of `questions`; polls while this member leads.

    `fault` states why the latest request failed, None if it succeeded.
    """

    def __init__(
        self,
        questions: BrokerQuestions,
        leadership: Leadership,
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("topic-watch", stop, _log)
        self._questions = questions
        self._leadership = leadership
        self._clock = clock
        self.listing: Listing | None = None
        self.probes: Mapping[int, Probe] = {}
        self.fault: str | None = None

    @property
    def count(self) -> int:
        """The known number of partitions; 0 before the first answer."""
        return self.listing.count if self.listing is not None else 0

    def run(self) -> None:
        """Poll until `stop` is set; an error is recorded in `fault`, and the request repeated."""
        listed_at = float("-inf")
        while not self._stop.wait(PROBE_EVERY_S if self.listing is not None else 0.1):
            try:
                if not self._leadership.held:
                    continue
                if time.monotonic() - listed_at >= LIST_EVERY_S:
                    self._list()
                    listed_at = time.monotonic()
                self._probe()
            except InfrastructureError as error:
                self._show(str(error))
            except Exception as error:  # a bug must not end the thread silently
                if self.fault is None:
                    _log.exception("cannot take in what Kafka answered")
                self._show(f"{type(error).__name__} in steptrail: see its log")
            else:
                self._show(None)

    def _list(self) -> None:
        sent_at = self._clock()
        count = self._questions.describe().partitions
        if count >= self.count:  # otherwise a broker whose metadata is not up to date yet
            self.listing = Listing(sent_at, count)

    def _probe(self) -> None:
        sent_at = self._clock()
        partitions = range(self.count)
        committed, every = self._questions.ends_by_level(partitions)
        self.probes = {p: Probe(sent_at, committed.get(p), every.get(p)) for p in partitions}
        missing = [p for p in partitions if p not in committed or p not in every]
        if missing:
            raise BrokerUnavailable(f"Kafka: no answer for partitions {missing} of {self._questions.topic}")

    def _show(self, fault: str | None) -> None:
        if fault is not None and self.fault is None:
            _log.warning("cannot read the partitions' end offsets: %s", fault)
        self.fault = fault
