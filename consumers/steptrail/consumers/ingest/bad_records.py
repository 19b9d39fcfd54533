"""Finds the bad records of a batch, so that the others are written.

ClickHouse decides which records are events: nothing is removed from a batch that it accepts. Bad records are found in
up to four ways, the cheapest first:

1. the buffer rejects messages without a value or a known frame, and those that are too long;
2. if every record can be parsed in place, ClickHouse reports the rows that fail a check. They are deleted from the
   staging table, and the batch continues without being staged again;
3. if a record has the wrong length or cannot be parsed, ClickHouse rejects the whole batch. A prefilter finds these
   records, the strict decoder gives the reasons, and the batch is staged without them;
4. all use the same limits (`steptrail.schemas.limits`), so these ways find everything. If they do not, each message is
   decoded strictly, and then the batch is halved until the rejected record stands alone: a logarithmic number of
   statements for each.

Few messages are all decoded strictly before they are staged, and ClickHouse does not check them again: planning its
checks would be a fifth of what the batch costs. Of many, after a batch with bad records, the next ones are prefiltered
before they are staged, which saves a rejection each: while they are read
(`steptrail.consumers.ingest.prefiltering_buffer`), or here.
A bad record is acknowledged in the dead-letter topic before the batch that covers its offset is written.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from steptrail.consumers.ingest.finding import Search, place_of
from steptrail.consumers.ingest.halving import Halving, SendLetters, Write, batch_of
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import ConsumedBatch, Refused
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.batch import FEW_ROWS
from steptrail.projections.delivery.staging import FailingRows
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.wire.framing import split_frame
from steptrail.schemas.wire.headers import times_resent

_log = logging.getLogger("steptrail.consumers.isolate")

# How many batches after a rejected one are prefiltered before they are written.
WARY_BATCHES = 20

# So few messages are decoded here: that takes a tenth of what ClickHouse takes to plan its checks.
FEW = FEW_ROWS

# A batch is rejected once for malformed records; each further time for a fault that only one validator finds.
_PASSES = 4


class Isolation:
    """Writes batches with `write`; sends their bad records to `send_letters` first.

    `write` projects a batch and returns partition -> next offset; it passes rows that fail a check to its callback, and
    raises BatchRejected with nothing written. `send_letters` returns when the letters are acknowledged. `limit` stops
    the projection when too much is bad.
    """

    def __init__(
        self,
        write: Write,
        send_letters: SendLetters,
        schemas: WriterSchemas,
        limit: PoisonLimit,
    ) -> None:
        self._write = write
        self._send_letters = send_letters
        self._schemas = schemas
        self._limit = limit
        self._wary = 0  # how many more batches to prefilter before they are written
        self.batches = 0  # batches with bad records

    def wary(self) -> bool:
        """Whether to prefilter batches before they arrive here. Thread-safe."""
        return self._wary > 0

    def write(self, consumed: ConsumedBatch) -> dict[int, int]:
        """Write everything of the batch but its bad records; returns partition -> next offset to commit.

        Raises TooMuchPoison, with nothing of the batch written; RegistryUnavailable when a message's schema is unknown
        and the registry does not answer; and whatever `write` and `send_letters` raise.
        """
        consumed = self._resolved(consumed)
        search = Search(consumed, self._schemas)
        if consumed.events <= FEW:
            search.decode()
        elif not all(run.schema.whole for run in consumed.batch.runs):
            search.prefilter(texts=True)  # ClickHouse does not check fields that have no column
        elif (self._wary or consumed.refused) and not consumed.prefiltered:
            search.prefilter()
        self._wary = WARY_BATCHES if consumed.refused else max(self._wary - 1, 0)
        done = self._write_searched(search)
        self.batches += bool(search.letters)
        self._limit.passed(consumed.messages, search.letters)
        return done

    def _write_searched(self, search: Search) -> dict[int, int]:
        def set_aside(rows: FailingRows) -> None:
            search.take_rows(rows)
            self._set_aside(search)

        batch, messages = replace(search.consumed.batch, checked=search.decoded), search.consumed.messages
        for _ in range(_PASSES):
            self._set_aside(search)
            if search.found:
                batch = batch.without(search.places)
                self._wary = WARY_BATCHES
            try:
                return self._write(batch, set_aside)
            except BatchRejected as rejected:
                _log.warning(
                    "batch rejected, searching it for bad records",
                    extra={"events": len(messages), "checks": dict(rejected.checks)},
                )
                if not search.explain():
                    break
        self._set_aside(search)
        self._wary = WARY_BATCHES
        halving = Halving(self._write, self._send_letters, self._schemas.new_builder, self._limit.unexplained)
        done = halving.write(messages, search.places, search.consumed.starts)
        search.letters += halving.letters
        return done

    def _set_aside(self, search: Search) -> None:
        """Send the letters found since the last call, unless the total is too high."""
        if letters := search.taken():
            self._limit.check(search.consumed.messages, search.letters)
            self._send_letters(letters)

    def _resolved(self, consumed: ConsumedBatch) -> ConsumedBatch:
        """The batch with the messages whose schema became known after it was built."""
        if not self._schemas.can_learn:
            return consumed
        refused: list[Refused] = []
        for each in consumed.refused:
            if each.error.reason is DecodeReason.UNKNOWN_SCHEMA:
                try:
                    resent = times_resent(each.message.headers()) > 0
                    self._schemas.learn(split_frame(each.message.value()), resent=resent)
                    continue
                except EventDecodeError as error:
                    each = Refused(each.message, error)
            refused.append(each)
        batch = consumed.batch
        if len(refused) < len(consumed.refused):
            bad = {place_of(each.message) for each in refused}
            batch = batch_of(consumed.messages, bad, consumed.starts, self._schemas.new_builder())
            consumed = replace(consumed, prefiltered=False)
        return replace(consumed, batch=batch, refused=refused)
