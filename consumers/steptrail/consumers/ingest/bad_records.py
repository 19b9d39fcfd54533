"""Finding the records that a batch was rejected for, so that the others go on.

Which records are events is the store's word: nothing is set aside out of a batch that it takes. What it rejects is
searched for all that is wrong in it at once, and what is left is written:

1. what the buffer refused already (no value, no known frame, too long) costs nothing;
2. where every record is in its place, the store names the rows that fail a check;
3. where a record is longer or shorter than it should be, or the engine cannot read on, a glance at all messages finds
   those that are no events, and the strict decoder says why;
4. all judge by the same limits (`steptrail.schemas.limits`), so that these find everything. Should they not, each
   message is decoded strictly, and then the batch is halved until the record that is rejected stands alone: the
   logarithm of the batch in statements for each.

When a batch was rejected shortly before, the next ones are glanced at first, which saves the store a rejection each.
A bad record is in the dead-letter topic, acknowledged, before the batch that covers its offset is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.finding import Search, place_of
from steptrail.consumers.ingest.halving import Halving, batch_of
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import ConsumedBatch, Refused
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.batch import Batch
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.wire.framing import split_frame
from steptrail.schemas.wire.headers import times_resent

_log = logging.getLogger("steptrail.consumers.isolate")

# So many batches after a rejected one are glanced at before they are written.
WARY_BATCHES = 20

# A batch is rejected for its records' lengths, and again for what the rows hold; more often it should not be.
_PASSES = 4


class Isolation:
    """Writes batches by `write`; sends the bad records among them to `bury` first.

    `write` projects a batch and returns partition -> next offset; it raises BatchRejected with nothing
    written. `bury` returns when the letters are acknowledged. `limit` stops it all when too much is bad.
    """

    def __init__(
        self,
        write: Callable[[Batch], dict[int, int]],
        bury: Callable[[Sequence[DeadLetter]], None],
        schemas: WriterSchemas,
        limit: PoisonLimit,
    ) -> None:
        self._write = write
        self._bury = bury
        self._schemas = schemas
        self._limit = limit
        self._wary = 0  # batches still to be glanced at before they are written
        self.batches = 0  # how many had to be taken apart

    def write(self, consumed: ConsumedBatch) -> dict[int, int]:
        """Write all of the batch that can be written; partition -> next offset to commit.

        Raises TooMuchPoison, with nothing of the batch written, RegistryUnavailable when it is not known which
        schema wrote a message and the registry does not answer, and whatever `write` and `bury` raise.
        """
        consumed = self._resolved(consumed)
        search = Search(consumed, self._schemas)
        # The store does not see how fields are spelled that it has no columns for.
        if self._wary or not all(run.schema.whole for run in consumed.batch.runs):
            search.glance()
        self._wary = max(self._wary - 1, 0)
        done = self._write_searched(search)
        self.batches += search.found
        self._limit.passed(consumed.messages, search.letters)
        return done

    def _write_searched(self, search: Search) -> dict[int, int]:
        batch, messages = search.consumed.batch, search.consumed.messages
        for _ in range(_PASSES):
            self._set_aside(search)
            if search.found:
                batch = search.consumed.batch.without(search.places)
                self._wary = WARY_BATCHES
            try:
                return self._write(batch)
            except BatchRejected as rejected:
                _log.warning(
                    "batch rejected, taking it apart",
                    extra={"events": len(messages), "checks": dict(rejected.checks)},
                )
                if not search.explain(rejected):
                    break
        self._set_aside(search)
        self._wary = WARY_BATCHES
        halving = Halving(self._write, self._bury, self._schemas.new_builder, self._limit.unexplained)
        done = halving.write(messages, search.places, search.consumed.starts)
        search.letters += halving.letters
        return done

    def _set_aside(self, search: Search) -> None:
        """Send the letters that were found since the last time, unless all together are too many."""
        if letters := search.taken():
            self._limit.check(search.consumed.messages, search.letters)
            self._bury(letters)

    def _resolved(self, consumed: ConsumedBatch) -> ConsumedBatch:
        """The batch with those taken in again that were refused only for a schema that can be had."""
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
        return replace(consumed, batch=batch, refused=refused)
