"""Which partitions a consume loop reads: those that its group gives it, or whatever else a part of ours decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from confluent_kafka import Consumer, TopicPartition

OnRebalance = Callable[[Consumer, list[TopicPartition]], None]


class Feed(Protocol):
    """Joins the group and says which partitions of the loop's topic follow from it. Called by the loop's thread."""

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Join the group."""
        ...

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """The group assigned `entries`: the partitions to hold from now on."""
        ...

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """The group took `entries` away: which of `held` are to be given up."""
        ...

    def more(self, held: Collection[int]) -> list[int]:
        """Partitions to hold beside `held`, asked for every turn; must not block."""
        ...


class GroupFeed:
    """The partitions of `topic` that the group assigns: members share them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Subscribe."""
        consumer.subscribe([self._topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """As they are."""
        return [entry.partition for entry in entries]

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """As they are."""
        return [entry.partition for entry in entries]

    def more(self, held: Collection[int]) -> list[int]:
        """None: the group sees to new ones."""
        return []


class LeaderFeed:
    """All partitions of the loop's topic, while the group has chosen this member.

    The group reads `token`, a topic with one partition, so that it gives exactly one member something: that one
    leads, the others stand by and take over when it is gone. `count` says how many partitions the topic has, as
    far as is known; it may grow.
    """

    def __init__(self, token: str, count: Callable[[], int]) -> None:
        self._token = token
        self._count = count
        self.leading = False

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Subscribe to the token."""
        consumer.subscribe([self._token], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """None yet: `more` names them."""
        self.leading = self.leading or bool(entries)
        return []

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """All."""
        if not entries:
            return []
        self.leading = False
        return list(held)

    def more(self, held: Collection[int]) -> list[int]:
        """All that are not held, of the leader."""
        return [number for number in range(self._count()) if number not in held] if self.leading else []
