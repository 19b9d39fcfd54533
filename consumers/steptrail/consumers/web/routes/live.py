"""Server-sent events: numbers that change by themselves, and events as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from steptrail.consumers.web.answering import desk_of
from steptrail.consumers.web.models.documents import Event
from steptrail.consumers.web.params import Name, Pipeline
from steptrail.consumers.web.problems import ProblemError, as_problem
from steptrail.consumers.web.service.pulse import pulse
from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.reading.reader import Reader

router = APIRouter(tags=["live"])

EVERY_S: Final = 2.0
MOST_STREAMS: Final = 100
_ALIVE_AFTER_S: Final = 15.0
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream of server-sent events.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/live", response_class=StreamingResponse, responses=_STREAM)
async def live(
    request: Request,
    pipeline: Pipeline,
    times: Annotated[
        int | None, Query(ge=1, description="End after so many; without end unless given.")
    ] = None,
) -> StreamingResponse:
    """Every two seconds `event: pulse` with how much fails, runs, waits and is stuck, and how fresh that is.

    `event: problem` says what cannot be known.
    """
    desk = desk_of(request)

    async def beat() -> tuple[str, str, str | None]:
        found = await desk.ask(("pulse", pipeline), lambda: pulse(desk.numbers.current(pipeline)))
        return "pulse", found.result.model_dump_json(), None

    async def beats() -> AsyncIterator[bytes]:
        said = 0
        while times is None or said < times:
            yield await _said(beat)
            said += 1
            if times is None or said < times:
                await asyncio.sleep(EVERY_S)

    return _stream(request, beats())


@router.get("/events/live", response_class=StreamingResponse, responses=_STREAM)
async def live_events(
    request: Request,
    pipeline: Pipeline,
    doc_id: Annotated[
        Name | None, Query(min_length=1, max_length=4096, description="Only of this document.")
    ] = None,
    after: Annotated[Name | None, Query(max_length=200, description="Only those after this cursor.")] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="Where a stream that broke goes on.")
    ] = None,
    times: Annotated[
        int | None, Query(ge=1, description="End after so many looks; without end unless given.")
    ] = None,
) -> StreamingResponse:
    """`event: step` for each event that is projected, in the order of their times; its `id` is the event's cursor.

    An event whose time lies before one that was told already is not told: the pages of /events have it.
    """
    desk = desk_of(request)
    given = last_event_id or after
    place = Cursor.parse(given) if given else None

    async def steps() -> AsyncIterator[bytes]:
        nonlocal place
        looked, spoke = 0, time.monotonic()
        begins = datetime.now(timezone.utc) - timedelta(seconds=1)
        while times is None or looked < times:
            try:
                found = await _new_events(request, pipeline, doc_id, place, begins)
            except Exception as error:
                yield _problem(error)
                found, spoke = [], time.monotonic()
            for event in found:
                place = Cursor.parse(event.cursor)
                yield _frame("step", event.model_dump_json(), event.cursor)
                spoke = time.monotonic()
            if time.monotonic() - spoke > _ALIVE_AFTER_S:
                yield b": still here\n\n"
                spoke = time.monotonic()
            looked += 1
            if times is None or looked < times:
                await asyncio.sleep(EVERY_S / 2)

    async def _new_events(
        request: Request, pipeline: str | None, doc_id: str | None, place: Cursor | None, begins: datetime
    ) -> list[Event]:
        reader = Reader(desk.store)
        key = ("events/live", pipeline, doc_id, place, begins)
        start = begins if place is None else None
        if doc_id is None:
            bounded = start or max(begins - timedelta(days=1), _time_of(place))
            found = await desk.ask(
                key, lambda: reader.events(pipeline, place, 500, start=bounded, newest_first=False)
            )
        else:
            found = await desk.ask(
                key, lambda: reader.timeline(pipeline, doc_id, place, 500, start=start, newest_first=False)
            )
        return [Event.model_validate(each) for each in found.result.items]

    return _stream(request, steps())


def _time_of(place: Cursor | None) -> datetime:
    try:
        return datetime.min.replace(tzinfo=timezone.utc) if place is None else place.timestamp
    except (ValueError, OverflowError):
        raise ProblemError(400, "bad_cursor", "the cursor names a time that no event has") from None


async def _said(beat: Any) -> bytes:
    try:
        return _frame(*await beat())
    except Exception as error:
        return _problem(error)


def _problem(error: Exception) -> bytes:
    problem = as_problem(error) or ProblemError(500, "internal", "the log says what")
    return _frame("problem", problem.problem.model_dump_json(), None)


def _frame(kind: str, data: str, ident: str | None) -> bytes:
    # JSON has no line ends of its own, so nothing that a worker sent can end a frame.
    lines = [f"event: {kind}", f"data: {data}"] + ([f"id: {ident}"] if ident else [])
    return ("\n".join(lines) + "\n\n").encode()


def _stream(request: Request, frames: AsyncIterator[bytes]) -> StreamingResponse:
    open_ = request.app.state.metrics.streams
    if open_._value.get() >= MOST_STREAMS:
        raise ProblemError(503, "busy", f"{MOST_STREAMS} live streams are open already")

    async def counted() -> AsyncIterator[bytes]:
        open_.inc()
        try:
            yield b": steptrail\nretry: 2000\n\n"
            async for frame in frames:
                yield frame
        finally:
            open_.dec()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(counted(), media_type="text/event-stream", headers=headers)
