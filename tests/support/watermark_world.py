"""A topic whose partitions lag, rest, lose their leader and hold open transactions, and a consumer that reads it.

It knows the truth: which records exist with which broker time. The consumer sees what a real one sees, and asks
the real Watermark which slots are complete.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.watermark import Blindness, Sight, Watermark

TICK_S = 0.25


@dataclass
class Partition:
    """Its log: the broker time of each offset, None for a transaction's marker."""

    rng: random.Random
    skew: float
    rate: float
    log: list[float | None] = field(default_factory=list)
    visible_at: list[float] = field(default_factory=list)
    transaction_from: int | None = None
    leaderless_until: float = 0.0
    stands_until: float = 0.0
    consumed: int = 0
    probe: tuple[float, float, int | None, int | None] | None = None  # sent, arrives, committed end, end

    def append(self, now: float, marker: bool = False) -> None:
        """The leader takes a record, or a marker; it is replicated a little later."""
        stamp = None if marker else now + self.skew
        latest = self.visible_at[-1] if self.visible_at else 0.0
        self.log.append(stamp)
        self.visible_at.append(max(latest, now + self.rng.uniform(0.0, 1.0)))

    def end(self, now: float) -> int:
        """The high watermark: what is replicated."""
        end = len(self.log)
        while end and self.visible_at[end - 1] > now:
            end -= 1
        return end

    def committed_end(self, now: float) -> int:
        """The last stable offset."""
        end = self.end(now)
        return end if self.transaction_from is None else min(end, self.transaction_from)


class WatermarkWorld:
    """Runs in ticks; `folded` and `incomplete` count slots, `greedy_incomplete` those of a maximum over partitions."""

    def __init__(self, seed: int, *, trouble: float = 1.0) -> None:
        self.rng = random.Random(seed)
        self.trouble = trouble
        self.now = 1_700_000_000.0 + self.rng.uniform(0, 5)
        self.partitions = [self._partition() for _ in range(self.rng.randint(1, 5))]
        self.known = len(self.partitions)
        self.watermark = Watermark()
        self.sight = Sight()
        self.blind: list[Blindness] = []
        self.healthy_while_behind = 0
        self.folded = self.incomplete = self.greedy_incomplete = 0
        self.next_slot = int(self.now // SLOT_S)
        self._greedy = 0.0
        self._greedy_next = self.next_slot
        self._values: list[float] = []
        self._listing: tuple[float, float, int] | None = None
        self._broker_away_until = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds / TICK_S)):
            self.tick()

    def tick(self) -> None:
        """A quarter of a second of everything."""
        self.now += TICK_S
        for partition in self.partitions:
            self._produce(partition)
        self._happen()
        if self.now >= self._broker_away_until:
            self._list()
            for number, partition in enumerate(self.partitions[: self.known]):
                self._consume(number, partition)
                self._probe(number, partition)
        self._fold()
        if (ended := self.sight.judge(self.now, self.watermark.value)) is not None:
            self.blind.append(ended)
        behind = self.watermark.value is None or self.now - self.watermark.value > 60
        self.healthy_while_behind += self.sight.blindness is None and behind

    def cut_off(self) -> None:
        """The broker goes away and does not come back."""
        self._broker_away_until = float("inf")

    def _partition(self) -> Partition:
        rng = self.rng
        return Partition(rng, rng.uniform(-0.4, 0.4), rng.choice([0.0, 0.05, 1.0, 8.0]))

    def _happens(self, per_minute: float) -> bool:
        return self.rng.random() < self.trouble * per_minute * TICK_S / 60

    def _happen(self) -> None:
        rng = self.rng
        for partition in self.partitions:
            if self._happens(0.3):
                partition.leaderless_until = self.now + rng.uniform(1, 40)
            if self._happens(0.3):
                partition.stands_until = self.now + rng.uniform(1, 120)
            if self._happens(0.2):
                partition.rate = rng.choice([0.0, 0.05, 1.0, 8.0])
            if partition.transaction_from is None and self._happens(1):
                partition.transaction_from = len(partition.log)
        if self._happens(0.1):
            self._broker_away_until = self.now + rng.uniform(1, 90)
        if len(self.partitions) < 8 and self._happens(0.1):
            self.partitions.append(self._partition())

    def _produce(self, partition: Partition) -> None:
        if self.now < partition.leaderless_until:
            return
        while self.rng.random() < partition.rate * TICK_S / (1 + partition.rate * TICK_S):
            partition.append(self.now)
        if partition.transaction_from is not None and self.rng.random() < TICK_S / 15:
            partition.append(self.now, marker=True)
            partition.transaction_from = None

    def _consume(self, number: int, partition: Partition) -> None:
        if self.now < max(partition.leaderless_until, partition.stands_until) or self.rng.random() < 0.3:
            return
        end = min(partition.committed_end(self.now), partition.consumed + self.rng.choice([1, 5, 50]))
        for stamp in partition.log[partition.consumed : end]:
            if stamp is None:
                continue
            self.watermark.applied(number, stamp)
            self._greedy = max(self._greedy, stamp - 2.0)
            slot = int(stamp // SLOT_S)
            self.incomplete += slot < self.next_slot
            self.greedy_incomplete += slot < self._greedy_next
        partition.consumed = end

    def _probe(self, number: int, partition: Partition) -> None:
        if partition.probe is not None:
            sent, arrives, committed, end = partition.probe
            if self.now >= arrives:
                partition.probe = None
                self.watermark.probed(
                    number, sent, committed_end=committed, end=end, consumed=partition.consumed
                )
        elif self.rng.random() < 0.3:
            away = self.now < partition.leaderless_until
            committed = None if away else partition.committed_end(self.now)
            end = None if away else partition.end(self.now)
            partition.probe = (self.now, self.now + self.rng.uniform(0, 2), committed, end)

    def _list(self) -> None:
        if self._listing is not None:
            sent, arrives, count = self._listing
            if self.now >= arrives:
                self._listing = None
                self.known = max(self.known, count)
                self.watermark.listed(sent, range(count))
        elif self.rng.random() < TICK_S / 2:
            self._listing = (self.now, self.now + self.rng.uniform(0, 1), len(self.partitions))

    def _fold(self) -> None:
        value = self.watermark.value
        if value is not None:
            self._values = [*self._values[-1:], value]
            assert self._values[-1] >= self._values[0], "the watermark went back"
            while (self.next_slot + 1) * SLOT_S <= value:
                self.next_slot += 1
                self.folded += 1
        while (self._greedy_next + 1) * SLOT_S <= self._greedy:
            self._greedy_next += 1
