"""Lists as commands answer them: once, or watched until Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import AsOf, show_freshness
from steptrail.deploy.terminal.guard import unguarded
from steptrail.deploy.terminal.options import spelled_out
from steptrail.deploy.terminal.output import json_ready, note, tell, write_json, write_json_lines
from steptrail.deploy.terminal.times import parse_duration, show_duration, show_time

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel

    from steptrail.consumers.web.models.common import PageAnswer
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.schemas.configuration.settings import Settings
    from steptrail.schemas.status import ProcessingStatus

T = TypeVar("T")

_PAGE = 500
_MOST_PAGES = 40
"""A page may be short where a filter skips rows; after so many pages the command stops and prints the cursor."""
_LEAST_S, _DAY_S = 0.1, 86_400.0

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")]
After = Annotated[
    str | None,
    typer.Option(
        "--after", metavar="CURSOR", help="Go on where the page before it ended.", show_default=False
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        "--step",
        "-s",
        help="Only this step; default: all.",
        show_default=False,
        callback=spelled_out,
        autocompletion=completing.steps,
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Ask again and again until Ctrl-C; in a pipe or with --json one change a line."
    ),
]
Every = Annotated[str, typer.Option("--every", metavar="TIME", help="How often --watch asks.")]
DEFAULT_EVERY = "2s"


@dataclass(frozen=True)
class Listing:
    """One answer: `items` as JSON has them, `draw` shows them to people, `about` is about the whole list."""

    items: Sequence[Mapping[str, Any]]
    draw: Callable[[], None]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What a list command asks. `key` names the fields that identify an item; `pipeline` and `step` must be known."""

    ask: Callable[[ClickHouse, AsOf], Listing]
    key: Sequence[str]
    pipeline: str | None = None
    step: str | None = None


def answer(
    settings: Settings,
    question: Question,
    *,
    max_behind: str,
    json: bool,
    watch: bool = False,
    every: str = DEFAULT_EVERY,
) -> None:
    """Ask and show, once or until Ctrl-C. Raises CommandError for unknown names, typer.Exit (3) for stale tables."""
    from steptrail.projections.clickhouse.client import connect

    pause = _pause(every)
    with connect(settings) as clickhouse:

        def asked(*, first: bool) -> tuple[Listing, AsOf]:
            fresh = AsOf(settings, clickhouse, max_behind)
            found = question.ask(clickhouse, fresh)
            if first and not found.items:
                fresh.refuse_unknown(question.pipeline, question.step)
            return found, fresh

        if watch:
            _watch(asked, question.key, pause, json=json or not sys.stdout.isatty())
            return
        found, fresh = asked(first=True)
    if json:
        write_json_lines(found.items)
    else:
        found.draw()
    fresh.tell(json=json, rows=len(found.items), **found.about)


def answer_without_store(
    ask: Callable[[], Listing], key: Sequence[str], *, json: bool, watch: bool, every: str
) -> None:
    """The same for a list that does not come from the tables, so that their freshness does not matter."""
    pause = _pause(every)
    if watch:
        _watch(lambda *, first: (ask(), None), key, pause, json=json or not sys.stdout.isatty())
        return
    found = ask()
    if json:
        write_json_lines(found.items)
    else:
        found.draw()


def _watch(
    asked: Callable[..., tuple[Listing, AsOf | None]], key: Sequence[str], pause: float, *, json: bool
) -> None:
    from steptrail.schemas.errors import InfrastructureError

    changes, first, problem = Changes(key), True, ""
    try:
        while _has_reader():
            try:
                found, fresh = asked(first=first)
                first, problem = False, ""
            except InfrastructureError as error:
                if first:
                    raise
                if str(error) != problem:  # said once, until it is another one or over
                    problem = str(error)
                    _tell_problem(problem, json=json)
            else:
                if json:
                    write_json_lines(changes.since_last(found.items, fresh))
                    sys.stdout.flush()
                else:
                    redraw(found, fresh, pause)
            time.sleep(pause)
    except KeyboardInterrupt:
        return


def _has_reader() -> bool:
    """Whether whoever reads our output in a pipe is still there: without a change nothing is written to find out."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # no file
        return True
    return not any(events & select.POLLERR for _, events in poll.poll(0))


class Changes:
    """What changed from one answer to the next, by the fields that identify an item."""

    def __init__(self, key: Sequence[str]) -> None:
        self._key = key
        self._last: dict[tuple[Any, ...], Any] = {}

    def since_last(self, items: Sequence[Mapping[str, Any]], fresh: AsOf | None) -> list[dict[str, Any]]:
        """One object for each item that is new, changed or gone; all are new in the first answer."""
        now = {tuple(json_ready(item.get(name)) for name in self._key): json_ready(item) for item in items}
        found = [
            ("changed" if key in self._last else "new", item)
            for key, item in now.items()
            if self._last.get(key) != item
        ]
        found += [("gone", item) for key, item in self._last.items() if key not in now]
        self._last = now
        as_of = None if fresh is None else fresh.found.as_of
        behind = None if fresh is None else fresh.found.behind_seconds
        return [
            {"change": change, "as_of": as_of, "behind_seconds": behind, "item": item}
            for change, item in found
        ]


def redraw(found: Listing, fresh: AsOf | None, pause: float) -> None:
    """Show a list on the terminal in place of the one before."""
    if os.environ.get("TERM", "dumb") != "dumb":
        unguarded(sys.stdout).write("\x1b[H\x1b[2J")
    found.draw()
    if fresh is not None:
        show_freshness(fresh.found, stale=fresh.stale)
    note(f"Asked every {show_duration(pause * 1000)}; Ctrl-C ends it.")
    sys.stdout.flush()


def _tell_problem(problem: str, *, json: bool) -> None:
    if json:
        write_json({"problem": problem}, sys.stderr)
    else:
        tell("note:", "bold yellow", f"{problem}\nWhat is shown is from before; it is asked again.")


def pages(
    ask: Callable[[str | None, int], PageAnswer], after: str | None, limit: int
) -> tuple[list[Any], str | None]:
    """At most `limit` items from page after page, and the cursor to go on with (None: this is the end)."""
    found: list[Any] = []
    for _ in range(_MOST_PAGES + limit // _PAGE):
        page = ask(after, min(limit - len(found), _PAGE))
        found += page.items  # type: ignore[attr-defined]
        after = page.next
        if after is None or len(found) >= limit:
            break
    return found, after


def as_json(items: Sequence[BaseModel]) -> list[dict[str, Any]]:
    """The items as the HTTP API writes them."""
    return [item.model_dump(mode="json") for item in items]


def note_more(following: str | None) -> None:
    """Says how to go on, where there is more."""
    if following is not None:
        note(f"There are more: --limit, or --after {following}")


def note_counted(until: datetime | None) -> None:
    """Says up to when the health consumer has counted minutes and error groups."""
    if until is None:
        note("Nobody has counted yet: `steptrail run health` does.")
    else:
        note(f"Counted by the health consumer, up to {show_time(until)} UTC.")


def statuses(names: Sequence[str] | None, allowed: Sequence[ProcessingStatus]) -> list[ProcessingStatus]:
    """The statuses that were typed in any case, all `allowed` ones for None. Raises CommandError (exit 2)."""
    by_name = {status.value: status for status in allowed}
    if unknown := [name for name in names or () if name.upper() not in by_name]:
        raise CommandError(
            f"{unknown[0]!r} is no status that this command lists.",
            exit_code=USAGE,
            kind="usage",
            hint=f"one of {', '.join(name.lower() for name in by_name)}.",
        )
    return [by_name[name.upper()] for name in dict.fromkeys(names)] if names else list(allowed)


def _pause(every: str) -> float:
    seconds = parse_duration(every)
    if seconds is None or not _LEAST_S <= seconds <= _DAY_S:
        raise CommandError(
            f"--every takes a duration from 100ms to 1d, such as 2s or 1m, not {every!r}.",
            exit_code=USAGE,
            kind="usage",
        )
    return seconds
