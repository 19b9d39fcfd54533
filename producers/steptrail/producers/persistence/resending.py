"""Resends messages from files in chunks: the next chunk follows when every message has its answer.

A header marks each as resent, so that readers skip events they already have. After a failure the next message is
tried alone, after a growing pause, or as soon as the broker acknowledges any other message.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message

from steptrail.producers.persistence.spool_file import Spooled
from steptrail.producers.refusals import refused
from steptrail.schemas.foreign import let_through
from steptrail.schemas.wire.headers import RESENT

_CHUNK = 1000
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 15.0

Produce = Callable[..., None]
"""A librdkafka producer's own `produce`, which waits for nothing."""


class Source(Protocol):
    """A store of messages. Called by one thread at a time; `confirmed` and `refused` under the resender's lock."""

    def next(self, most: int) -> list[Spooled]:
        """The next messages, at most `most`; empty at the end."""
        ...

    def confirmed(self, record: Spooled, answer: Message) -> None:
        """The broker acknowledged the message."""
        ...

    def refused(self, record: Spooled) -> None:
        """The broker permanently rejected the message."""
        ...

    def finish(self) -> bool:
        """Everything from `next` is confirmed or refused; returns False if more arrived meanwhile."""
        ...


class Resender:
    """Resends the messages of one source after another. `tick` is for one thread at a time."""

    def __init__(
        self,
        topic: str,
        lock: AbstractContextManager[Any],
        next_source: Callable[[float], Source | None],
        delivered: Callable[[], int] = lambda: 0,
    ) -> None:
        """`delivered` counts the broker's other acknowledgements: when it grows, a pause ends."""
        self.source: Source | None = None
        self._topic = topic
        self._lock = lock
        self._next_source = next_source
        self._delivered = delivered
        self._delivered_before = 0
        self._outstanding = 0
        self._failed = False
        self._unsent: list[Spooled] = []
        self._pause = 0.0
        self._paused_until = 0.0
        self._resume_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether messages are being resent without a failure so far."""
        return self.source is not None and not self.paused

    @property
    def paused(self) -> bool:
        """Whether the last resend failed and nothing was delivered since."""
        return bool(self._pause) and self._delivered() == self._delivered_before

    def tick(self, produce: Produce, now: float) -> None:
        """Called often: sends the next chunk when it is due. Raises OSError when reading does."""
        source = self.source
        if source is None:
            source = self.source = self._next_source(now)
            if source is None:
                return
        if self._outstanding or now < self._resume_at or (now < self._paused_until and self.paused):
            return
        if self._failed:
            self._failed = False
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_S), _LAST_PAUSE_S)
            self._resume_at, self._paused_until = now + _FIRST_PAUSE_S, now + self._pause
            self._delivered_before = self._delivered()
            return
        if not self._unsent:
            self._unsent = source.next(_CHUNK)
            if not self._unsent:
                if source.finish():
                    self.source = None
                return
        if not self._send(source, produce) and not self._outstanding:
            self._resume_at = now + _FIRST_PAUSE_S  # the queue is full

    def pause(self, now: float) -> None:
        """Wait much longer before the next attempt: reading failed."""
        self._resume_at = now + _LAST_PAUSE_S

    def _send(self, source: Source, produce: Produce) -> bool:
        """Send the chunk's unsent messages, or one after a failure; returns False when the queue is full."""
        most = 1 if self._pause else len(self._unsent)
        chunk, self._unsent = self._unsent[:most], self._unsent[most:]
        for number, message in enumerate(chunk):
            self._outstanding += 1
            try:
                produce(
                    self._topic,
                    message.value,
                    message.key,
                    -1,
                    self._on_report(source, message),
                    headers=[(RESENT, b"1")],
                )
            except Exception as error:  # queue full, or the producer is gone
                let_through(error)
                self._outstanding -= 1
                self._unsent += chunk[number:]
                return False
        return True

    def _on_report(self, source: Source, record: Spooled) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, answer: Message) -> None:
            with self._lock:
                self._outstanding -= 1
                if error is None:
                    self._pause = 0.0
                    source.confirmed(record, answer)
                elif refused(error.code()):
                    source.refused(record)
                else:
                    self._failed = True
                    self._unsent.append(record)

        return report
