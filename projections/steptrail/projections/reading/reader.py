"""Questions to the projected tables: a document's events and state, recent errors, pages of events."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor, Page
from steptrail.projections.clickhouse.queries import Store, ask, micros, positive, scope, stored
from steptrail.projections.reading.completeness import (
    CompletenessState,
    DocumentCompleteness,
    DocumentCursor,
    DocumentPage,
    document_completeness,
    incomplete_documents,
)
from steptrail.projections.reading.recent_error_groups import RecentErrorGroups, recent_error_groups
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.stalls import ObservedRecord, document_observations, recent_stalls
from steptrail.projections.reading.states import StepState
from steptrail.projections.reading.windows import COMMON, ask_backward, ask_forward
from steptrail.projections.stores.expected_steps import ExpectedSteps, expected_steps
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError

MAX_LIST_EVENTS = 100_000
"""The longest list that one call gives; longer ones come in pages."""

_BLOCK = 5_000
_BEFORE_ALL, _AFTER_ALL = -(2**61), 2**61  # beyond every time that the store holds, well inside 64 bits
_ENDS = {"forward": Cursor(_BEFORE_ALL, UUID(int=0)), "backward": Cursor(_AFTER_ALL, UUID(int=2**128 - 1))}
_ERRORS = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)


class ResultTooLarge(SteptrailError):
    """The list would be longer than one call gives: narrow the question, or read it in pages."""


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which events a question is about; None means all."""

    pipeline: str | None
    doc_id: str | None = None
    statuses: Collection[ProcessingStatus] | None = None
    start: datetime | None = None
    end: datetime | None = None

    def takes(self, found: ObservedRecord) -> bool:
        """Whether an observation passes, by the status of its execution and the time for which it was found."""
        return (
            (self.statuses is None or found.status in self.statuses)
            and (self.start is None or found.watermark >= self.start)
            and (self.end is None or found.watermark < self.end)
        )

    def parameters(self, store: Store) -> dict[str, Any]:
        chosen = ProcessingStatus if self.statuses is None else self.statuses
        parameters: dict[str, Any] = {
            **scope(self.pipeline, store),
            "statuses": sorted({ProcessingStatus(status).value for status in chosen}),
            "start_us": micros("start_time", self.start, _BEFORE_ALL),
            "end_us": micros("end_time", self.end, _AFTER_ALL),
        }
        if self.doc_id is not None:
            parameters["doc_id"] = stored(self.doc_id, store)
        return parameters


class Reader:
    """Reads what has been projected. Each event is given once, however often it was sent; times are aware, UTC.

    `pipeline` is a name, or None for all pipelines. Any number of threads may use one reader.

    Every method raises `StoreUnavailable` or `StoreRefused` when ClickHouse cannot answer now, `SchemaMismatch`
    when its tables are not there, ValueError for a time without a zone and `BadCursor` for a text that is no
    page's cursor.
    """

    def __init__(self, clickhouse: Store) -> None:
        self._clickhouse = clickhouse

    def steps(
        self,
        pipeline: str | None,
        doc_id: str,
        statuses: Collection[ProcessingStatus] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        include_observed: bool = False,
    ) -> list[ProcessingStep]:
        """The events of one document, oldest first; `start` inclusive, `end` exclusive; [] when it is unknown.

        With `include_observed` also what consumers observed of its executions, each an `ObservedStep` at the time
        for which it was found. Raises `ResultTooLarge` past MAX_LIST_EVENTS events; `timeline` gives such a
        document in pages.
        """
        chosen = _Filter(pipeline, doc_id, statuses, start, end)
        records = self._whole(chosen, "forward", f"document {doc_id!r} has", "read it with Reader.timeline()")
        steps: list[ProcessingStep] = [record.to_step() for record in records]
        if include_observed:
            steps += [found.to_step() for found in self.observations(pipeline, doc_id) if chosen.takes(found)]
            steps.sort(key=lambda step: step.timestamp)
        return steps

    def recent_errors(
        self,
        pipeline: str | None,
        since: datetime,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> list[RecentError]:
        """ERROR and FAILED events (WARNING too, if asked) of all documents since then, newest first.

        With `include_observed` also the executions that are stalled now and were found so since then, each an
        `ObservedError`. With `limit`, only so many. Raises `ResultTooLarge` when there are more than
        MAX_LIST_EVENTS and no limit was given.
        """
        micros("since", since, 0)  # so that a bad one is called by this name
        statuses = (*_ERRORS, ProcessingStatus.WARNING) if include_warnings else _ERRORS
        chosen = _Filter(pipeline, statuses=statuses, start=since)
        if limit is not None:
            if limit < 0:
                raise ValueError(f"limit must not be negative: {limit}")
            found = list(islice(self._events(chosen, "backward", None, limit), limit))
        else:
            hint = "give a limit, a later time, or read them with Reader.events()"
            found = self._whole(chosen, "backward", f"since {since.isoformat()} there are", hint)
        errors = [record.to_recent_error() for record in found]
        if include_observed:
            errors += [stall.to_recent_error() for stall in self.stalls(pipeline, since, limit)]
            errors.sort(key=lambda error: error.timestamp, reverse=True)
        return errors[:limit]

    def observations(self, pipeline: str | None, doc_id: str) -> list[ObservedRecord]:
        """What consumers observed of one document's executions, the earliest first; at most MAX_LIST_EVENTS."""
        return document_observations(self._clickhouse, pipeline, doc_id, MAX_LIST_EVENTS)

    def stalls(
        self, pipeline: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[ObservedRecord]:
        """Executions that are stalled now, the latest found first; `since` leaves out those found earlier.

        An ending, or a later execution of the same step, ends a stall here at once, whether it was retracted yet
        or not. With `limit`, only so many; MAX_LIST_EVENTS at most.
        """
        since_us = micros("since", since, _BEFORE_ALL)
        wanted = MAX_LIST_EVENTS if limit is None else min(limit, MAX_LIST_EVENTS)
        return recent_stalls(self._clickhouse, pipeline, since_us, wanted)

    def recent_error_groups(
        self, pipeline: str | None, since: datetime, include_warnings: bool = False, limit: int = 100
    ) -> RecentErrorGroups:
        """What `recent_errors` gives, by what it has in common: step, error type and template of the message."""
        statuses = (*_ERRORS, ProcessingStatus.WARNING) if include_warnings else _ERRORS
        return recent_error_groups(self._clickhouse, pipeline, since, statuses, limit)

    def document_state(self, pipeline: str | None, doc_id: str) -> list[StepState]:
        """The current state of each step of one document, in the order in which they began; [] when unknown."""
        parameters = {**scope(pipeline, self._clickhouse), "doc_id": stored(doc_id, self._clickhouse)}
        return [StepState.from_row(row) for row in ask(self._clickhouse, "document_state", parameters)]

    def timeline(
        self,
        pipeline: str | None,
        doc_id: str,
        after: Cursor | str | None = None,
        limit: int = 100,
        *,
        before: Cursor | str | None = None,
        statuses: Collection[ProcessingStatus] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
    ) -> Page[StepRecord]:
        """A page of one document's events, in time order; go on with `after=page.next`, back with `before`."""
        chosen = _Filter(pipeline, doc_id, statuses, start, end)
        return self._page(chosen, after, before, limit, newest_first)

    def events(
        self,
        pipeline: str | None = None,
        after: Cursor | str | None = None,
        limit: int = 100,
        *,
        before: Cursor | str | None = None,
        statuses: Collection[ProcessingStatus] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = True,
    ) -> Page[StepRecord]:
        """A page of the events of all documents, by status and time; paged like `timeline`."""
        chosen = _Filter(pipeline, None, statuses, start, end)
        return self._page(chosen, after, before, limit, newest_first)

    def completeness(self, pipeline: str | None, doc_id: str) -> list[DocumentCompleteness]:
        """Which expected steps of one document are done, failed, unfinished or missing, and what was unexpected.

        One answer for each pipeline that knows the document and declared its steps
        (`steptrail.projections.stores.expected_steps`); [] when there is none.
        """
        return document_completeness(self._clickhouse, pipeline, doc_id)

    def incomplete(
        self,
        pipeline: str | None = None,
        after: DocumentCursor | str | None = None,
        limit: int = 100,
        *,
        quiet_since: datetime | None = None,
        states: Collection[CompletenessState] = (CompletenessState.INCOMPLETE,),
    ) -> DocumentPage:
        """A page of the documents that are not complete, by pipeline and doc_id; go on with `after=page.next`.

        Documents that are still worked on are among them; `quiet_since` leaves out those of which something was
        heard at or after that time. Documents are looked through in that order until `limit` are found.
        """
        return incomplete_documents(self._clickhouse, pipeline, after, limit, states, quiet_since)

    def expected_steps(self, pipeline: str | None = None) -> list[ExpectedSteps]:
        """The steps that are declared now, by pipeline; a pipeline that declared none is left out."""
        return expected_steps(self._clickhouse, pipeline)

    def projected_offsets(
        self, topic: str, topic_id: str, projection: str = "steps", *, at_least: int = 0
    ) -> dict[int, int]:
        """The last Kafka offset of each partition that is in every table of the projection; absent: none yet.

        `at_least` leaves out partitions that have not come so far, and spares reading the ledger's history.
        """
        parameters = {"projection": projection, "topic": topic, "topic_id": topic_id, "at_least": at_least}
        rows = ask(self._clickhouse, "projected_offsets", parameters)
        return {int(row["partition"]): int(row["reached"]) for row in rows}

    def _page(
        self,
        chosen: _Filter,
        after: Cursor | str | None,
        before: Cursor | str | None,
        limit: int,
        newest_first: bool,
    ) -> Page[StepRecord]:
        if after is not None and before is not None:
            raise ValueError("a page comes after a cursor or before one: give only one of them")
        positive("limit", limit)
        position = before if after is None else after
        cursor = None if position is None else Cursor.parse(position)
        goes_back = before is not None
        direction = "backward" if newest_first != goes_back else "forward"
        found = list(islice(self._events(chosen, direction, cursor, limit + 1), limit + 1))
        more, found = len(found) > limit, found[:limit]
        if goes_back:
            found.reverse()
        if not found:
            return Page((), None, None)
        further = more if not goes_back else True  # going back, the cursor's own event lies ahead
        earlier = more if goes_back else cursor is not None
        return Page(
            tuple(found),
            next=found[-1].cursor if further else None,
            previous=found[0].cursor if earlier else None,
        )

    def _whole(self, chosen: _Filter, direction: str, subject: str, hint: str) -> list[StepRecord]:
        found = list(islice(self._events(chosen, direction, None, _BLOCK), MAX_LIST_EVENTS + 1))
        if len(found) > MAX_LIST_EVENTS:
            raise ResultTooLarge(
                f"{subject} more than {MAX_LIST_EVENTS:,} events, too many for one list: {hint}"
            )
        return found

    def _events(
        self, chosen: _Filter, direction: str, cursor: Cursor | None, wanted: int
    ) -> Iterator[StepRecord]:
        """Every event once, in blocks that are as large as what is `wanted` makes sensible.

        Copies of an event have its timestamp and its id, so they come side by side, and a block that starts
        after one of them starts after all.
        """
        parameters = chosen.parameters(self._clickhouse)
        fetch = min(wanted + wanted // 8 + 2, _BLOCK)  # a few more, for copies
        position = cursor or _ENDS[direction]
        while True:
            parameters |= {"from_us": position.micros, "from_id": str(position.event_id), "fetch": fetch}
            rows = self._block(chosen, direction, parameters)
            for row in rows:
                record = StepRecord.from_row(row)
                if record.cursor != position:
                    position = record.cursor
                    yield record
            if len(rows) < fetch:
                return

    def _block(self, chosen: _Filter, direction: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        if chosen.doc_id is not None:
            return ask(self._clickhouse, f"document_events_{direction}", parameters)
        ask_windows = ask_forward if direction == "forward" else ask_backward
        rare = "" if COMMON.intersection(parameters["statuses"]) else "rare_"
        return ask_windows(self._clickhouse, f"{rare}events_{direction}", parameters)
