"""Decides which partitions a consume loop reads: those its group assigns, or all of them while it leads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from confluent_kafka import Consumer, TopicPartition

OnRebalance = Callable[[Consumer, list[TopicPartition]], None]


class Feed(Protocol):
    """Joins the group, and maps its assignments to partitions of the loop's topic. Called by the loop's thread."""

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Join the group."""
        ...

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """The group assigned `entries`; returns the partitions to hold from now on."""
        ...

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """The group revoked `entries`; returns which of `held` to give up."""
        ...

    def more(self, held: Collection[int]) -> list[int]:
        """Further partitions to hold besides `held`; called every turn, must not block."""
        ...


class GroupFeed:
    """The partitions of `topic` that the group assigns; the members share them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Subscribe to the topic."""
        consumer.subscribe([self._topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """Every assigned partition is held."""
        return [entry.partition for entry in entries]

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """Every revoked partition is given up."""
        return [entry.partition for entry in entries]

    def more(self, held: Collection[int]) -> list[int]:
        """None: the group assigns new partitions itself."""
        return []


class Leadership:
    """Whether this member leads; written by the loop's thread, readable from any thread."""

    def __init__(self) -> None:
        self.held = False


class LeaderFeed:
    """All partitions of the loop's topic, while the group has chosen this member.

    The group reads `token`, a topic with one partition, so exactly one member is assigned something: that one leads,
    the others stand by and take over when it is gone. `count` returns the known number of the topic's partitions, which
    may grow.
    """

    def __init__(self, token: str, leadership: Leadership, count: Callable[[], int]) -> None:
        self._token = token
        self._leadership = leadership
        self._count = count

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """Subscribe to the token."""
        consumer.subscribe([self._token], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """None yet: `more` names the partitions of a leader."""
        self._leadership.held = self._leadership.held or bool(entries)
        return []

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """A leader that loses the token gives up every partition."""
        if not entries:
            return []
        self._leadership.held = False
        return list(held)

    def more(self, held: Collection[int]) -> list[int]:
        """Every partition that the leader does not hold yet; none for the others."""
        if not self._leadership.held:
            return []
        return [number for number in range(self._count()) if number not in held]
