"""Sending dead letters again to the topic that they came from, so that each event arrives once.

Three things together see to that, whatever is killed when:

- each message carries a header that says that it was sent again, and the projection takes such an event only where
  its id is not there yet;
- what was acknowledged is written down in the store, batch by batch, and is not chosen again;
- what was acknowledged and not yet written down when the process died is sent a second time by the next run, and
  meets the first rule.

The header also counts. A letter that comes back as often as `max_resent` is left alone: sending it again changes
nothing, and somebody has to look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.consumers.dlq.fetch import LetterReader
from steptrail.consumers.dlq.letter import Letter, read_letter
from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.producing import produce
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.projections.stores.dead_letter_store import (
    Author,
    DeadLetterStore,
    Redriven,
    Selection,
    StoredLetter,
)
from steptrail.schemas.access.denials import error_said
from steptrail.schemas.access.rights import Right
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.figures import counted
from steptrail.schemas.wire.headers import RESENT, Headers

ACKNOWLEDGE_TIMEOUT_S = 30.0
# Written down at the latest after so many letters or seconds: what a kill may have sent twice.
_PAGE = 200
_PAGE_S = 2.0

STILL_BAD, LOOP_CAP, GONE, REFUSED = "still_bad", "loop_cap", "gone", "refused_by_broker"


class RedriveStopped(InfrastructureError):
    """Kafka did not acknowledge what was sent again: what is written down stays so, run the command once more."""


@dataclass(frozen=True)
class Terms:
    """How letters are sent again: `rate` a second at most (0: as fast as it goes), those that were not sent again
    `max_resent` times yet; with `force` also what would only come back; `dry_run` sends nothing.
    """

    rate: float = 500.0
    max_resent: int = 3
    force: bool = False
    dry_run: bool = False
    limit: int | None = None


@dataclass
class Tally:
    """Progress of a redrive. At the end `matched` = `sent` + all `skipped`; a dry run counts what would be sent."""

    matched: int = 0
    sent: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    sent_up_to: dict[int, int] = field(default_factory=dict)  # partition -> the highest offset that was given

    @property
    def done(self) -> int:
        """Letters that are dealt with."""
        return self.sent + self.skipped.total()


class Redrive:
    """Sends the letters of a selection again to `topic`, which has `partitions` partitions.

    `letters` reads the dead-letter topic whose Kafka id is `dlq_topic_id`. One use.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        letters: LetterReader,
        config: Mapping[str, Any],
        *,
        topic: str,
        partitions: int,
        dlq_topic_id: str,
        schemas: WriterSchemas,
        author: Author,
        terms: Terms,
        on_progress: Callable[[Tally], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._letters = letters
        self._config = config
        self._topic = topic
        self._partitions = partitions
        self._dlq_topic_id = dlq_topic_id
        self._schemas = schemas
        self._author = author
        self._terms = terms
        self._on_progress = on_progress
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()
        self.tally = Tally()
        self._producer = Producer(
            {
                **config,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.max.bytes": 2 * 1024 * 1024,
                "message.timeout.ms": int(ACKNOWLEDGE_TIMEOUT_S * 1000),
                "linger.ms": 5,
            }
        )

    def run(self, selection: Selection) -> Tally:
        """Send them all, or until `limit` were looked at.

        Raises RedriveStopped when Kafka does not acknowledge, BrokerUnavailable, RegistryUnavailable and what the
        store raises; what was written down by then is not sent again by the next run.
        """
        after: StoredLetter | None = None
        left = self._terms.limit
        page = max(1, min(_PAGE, int(self._terms.rate * _PAGE_S))) if self._terms.rate else _PAGE
        while left is None or left > 0:
            stored = self._store.letters(
                selection, limit=page if left is None else min(page, left), after=after
            )
            if not stored:
                break
            after = stored[-1]
            left = None if left is None else left - len(stored)
            self._page(stored)
            self._on_progress(self.tally)
        return self.tally

    def _page(self, stored: Sequence[StoredLetter]) -> None:
        self.tally.matched += len(stored)
        messages = self._letters.read(
            [(s.letter_partition, s.letter_offset) for s in stored if s.topic_id == self._dlq_topic_id]
        )
        sending: list[tuple[StoredLetter, Letter]] = []
        for each in stored:
            message = messages.get((each.letter_partition, each.letter_offset))
            if each.topic_id != self._dlq_topic_id or message is None:
                self.tally.skipped[GONE] += 1
            elif each.times_resent >= self._terms.max_resent:
                self.tally.skipped[LOOP_CAP] += 1
            elif not self._terms.force and fault_of(message, self._schemas) is not None:
                self.tally.skipped[STILL_BAD] += 1
            else:
                sending.append((each, read_letter(message, self._schemas)))
        if self._terms.dry_run:
            self.tally.sent += len(sending)
        elif sending:
            self._send(sending)

    def _send(self, sending: Sequence[tuple[StoredLetter, Letter]]) -> None:
        redriven: list[Redriven] = []
        failures: list[KafkaError] = []

        for stored, letter in sending:

            def acknowledged(
                error: KafkaError | None, message: Message, stored: StoredLetter = stored
            ) -> None:
                partition, offset = message.partition(), message.offset()
                if error is None and partition is not None and offset is not None:
                    redriven.append(Redriven(stored, partition, offset))
                elif error is not None and error.code() in _REFUSALS:
                    self.tally.skipped[REFUSED] += 1
                elif error is not None:
                    failures.append(error)

            self._pace()
            self._produce(stored, letter, acknowledged)
        try:
            left = self._producer.flush(ACKNOWLEDGE_TIMEOUT_S + 1.0)
        except KafkaException as error:  # a fatal one: this producer sends nothing more
            failures.append(error.args[0])
            left = 0
        self._store.redriven(redriven, self._author)
        self.tally.sent += len(redriven)
        for each in redriven:
            at = self.tally.sent_up_to
            at[each.sent_partition] = max(at.get(each.sent_partition, -1), each.sent_offset)
        if failures or left:
            needed = Right("Write", "topic", self._topic)
            why = error_said(failures[0], self._config, needed) if failures else "no answer"
            raise RedriveStopped(
                f"{counted(len(failures) + left, 'letter was', 'letters were')} not acknowledged by "
                f"{self._topic} ({why}); {self.tally.sent} "
                "were sent and written down. Run the command again: it goes on where this one stopped."
            )

    def _produce(self, stored: StoredLetter, letter: Letter, acknowledged: Any) -> None:
        # All records of an event are to be in one partition: that of its first one, while it exists.
        mine = stored.topic == self._topic and stored.source_partition < self._partitions
        headers: Headers = [*letter.own_headers, (RESENT, b"%d" % (stored.times_resent + 1))]
        try:
            produce(
                self._producer,
                self._topic,
                Deadline(ACKNOWLEDGE_TIMEOUT_S, self._clock),
                value=letter.value,
                key=letter.key,
                partition=stored.source_partition if mine else -1,
                headers=headers,
                on_delivery=acknowledged,
            )
        except BufferError as error:
            raise RedriveStopped(f"{self._topic} takes nothing: {error}") from error
        except KafkaException as error:
            if error.args[0].code() not in _REFUSALS:
                raise RedriveStopped(f"{self._topic}: {error_said(error, self._config)}") from error
            self.tally.skipped[REFUSED] += 1
        else:
            self._producer.poll(0)

    def _pace(self) -> None:
        if not self._terms.rate:
            return
        now = self._clock()
        if self._next_at > now:
            self._sleep(self._next_at - now)
        self._next_at = max(self._next_at, now) + 1.0 / self._terms.rate


_REFUSALS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_MSG)
