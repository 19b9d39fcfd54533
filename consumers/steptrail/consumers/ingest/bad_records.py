"""Finding the bad records of a batch, so that the others are written.

ClickHouse decides which records are events: nothing is set aside out of a batch that it takes. Bad records are found
in up to four ways, the cheapest first:

1. the buffer refuses messages without a value or a known frame, and those that are too long;
2. where every record is in its place, ClickHouse names the rows that fail a check. They are deleted from the stage,
   and the batch goes on without being staged again;
3. where a record is longer or shorter than it should be, or cannot be parsed, the whole batch is rejected. A prefilter
   finds these records, the strict decoder gives the reasons, and the batch is staged without them;
4. all judge by the same limits (`steptrail.schemas.limits`), so that these find everything. Should they not, each
   message is decoded strictly, and then the batch is halved until the record that is rejected stands alone: the
   logarithm of the batch in statements for each.

After a batch with messages that were refused or rejected, the next ones are prefiltered before they are staged, which
saves a rejection each: while they are read (`steptrail.consumers.ingest.prefiltering_buffer`), or here.
A bad record is in the dead-letter topic, acknowledged, before the batch that covers its offset is written.
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
from steptrail.projections.delivery.staging import FailingRows
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.wire.framing import split_frame
from steptrail.schemas.wire.headers import times_resent

_log = logging.getLogger("steptrail.consumers.isolate")

# So many batches after a rejected one are prefiltered before they are written.
WARY_BATCHES = 20

# A batch is rejected once for misshapen records; each further time is for what only one validator finds.
_PASSES = 4


class Isolation:
    """Writes batches by `write`; sends the bad records among them to `send_letters` first.

    `write` projects a batch and returns partition -> next offset; it gives rows that fail a check to the function
    that it is called with, and raises BatchRejected with nothing written. `send_letters` returns when the letters are
    acknowledged. `limit` stops it all when too much is bad.
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
        self._wary = 0  # batches still to be prefiltered before they are written
        self.batches = 0  # how many held bad records

    def wary(self) -> bool:
        """Whether batches are to be prefiltered before they come here. For any thread."""
        return self._wary > 0

    def write(self, consumed: ConsumedBatch) -> dict[int, int]:
        """Write all of the batch that can be written; partition -> next offset to commit.

        Raises TooMuchPoison, with nothing of the batch written, RegistryUnavailable when it is not known which
        schema wrote a message and the registry does not answer, and whatever `write` and `send_letters` raise.
        """
        consumed = self._resolved(consumed)
        search = Search(consumed, self._schemas)
        if not all(run.schema.whole for run in consumed.batch.runs):
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

        batch, messages = search.consumed.batch, search.consumed.messages
        for _ in range(_PASSES):
            self._set_aside(search)
            if search.found:
                batch = search.consumed.batch.without(search.places)
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
        """Send the letters that were found since the last call, unless all together are too many."""
        if letters := search.taken():
            self._limit.check(search.consumed.messages, search.letters)
            self._send_letters(letters)

    def _resolved(self, consumed: ConsumedBatch) -> ConsumedBatch:
        """The batch with the messages whose schema was not known when it was built, and is now."""
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
