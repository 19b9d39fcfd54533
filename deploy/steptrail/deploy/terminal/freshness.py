"""What goes with every answer from the tables: up to when it is complete, and which names are unknown."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal.failures import NO, UNREACHABLE, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.output import note, tell, write_json
from steptrail.deploy.terminal.times import parse_duration, show_duration, show_time

if TYPE_CHECKING:
    from steptrail.consumers.loop.freshness import Freshness
    from steptrail.projections.clickhouse.queries import Store
    from steptrail.schemas.configuration.settings import Settings

MaxBehind = Annotated[
    str,
    typer.Option(
        "--max-behind",
        metavar="TIME",
        help="Exit with 3 when the tables are further behind than this, or the lag is unknown; any: never.",
    ),
]
DEFAULT_BEHIND = "60s"


class AsOf:
    """How fresh an answer is. Made before the question is asked; `tell` ends the command's output."""

    def __init__(self, settings: Settings, store: Store, max_behind: str) -> None:
        self._limit = None if max_behind.strip().lower() == "any" else _seconds(max_behind)
        from steptrail.consumers.loop.freshness import read_freshness

        self._store = store
        self.found: Freshness = read_freshness(settings, store)

    @property
    def stale(self) -> bool:
        """Whether the tables are further behind than --max-behind allows."""
        return self._limit is not None and self.found.exceeds(self._limit)

    def tell(self, *, json: bool, in_answer: bool = False, **about: Any) -> None:
        """Say it after the answer, on standard error, with --json as one object that also holds `about`.

        `in_answer`: the JSON answer holds it already. Raises typer.Exit (3) when the tables are too far behind.
        """
        if json and not in_answer:
            write_json({**about, **self.found.as_dict()}, sys.stderr)
        elif not json:
            show_freshness(self.found, stale=self.stale)
        if self.stale:
            raise typer.Exit(UNREACHABLE)

    def refuse_unknown(self, pipeline: str | None, step_name: str | None = None) -> None:
        """Raise CommandError (exit 1, or 3 when the tables are too far behind to know) for an unknown name."""
        from steptrail.projections.reading.known_names import unknown_name

        unknown = unknown_name(self._store, pipeline, step_name)
        if unknown is None:
            return
        where = f" in pipeline {pipeline!r}" if unknown.kind == "step" and pipeline else ""
        raise CommandError(
            f"no event of a {unknown.kind} {unknown.name!r} is known{where}.",
            exit_code=UNREACHABLE if self.stale else NO,
            kind=f"unknown_{unknown.kind}",
            near=unknown.near,
            hint=freshness_sentence(self.found),
        )


def show_freshness(found: Freshness, *, stale: bool) -> None:
    """One quiet line; a warning where the answer must not be relied on."""
    if stale:
        tell("late:" if found.problem is None else "note:", "bold yellow", freshness_sentence(found))
    else:
        note(freshness_sentence(found))


def freshness_sentence(found: Freshness) -> str:
    """Such as "Everything up to 2026-05-04 12:03:41 UTC, 2.1 s behind." """
    waiting = f"{counted(found.behind_events, 'event')} wait unread" if found.behind_events else ""
    still = found.stands_still_since(datetime.now(timezone.utc).timestamp())
    stands = f"; the projector has not moved since {show_time(still)} UTC" if still is not None else ""
    if found.behind_seconds is None or found.as_of is None:
        known = f"; {waiting}" if waiting else ""
        return f"Up to when the tables know everything is not known: {found.problem}{known}{stands}."
    upto = f"Everything up to {show_time(found.as_of)} UTC"
    if not waiting:
        return f"{upto}."
    verb = waiting.replace("wait ", "waits ") if found.behind_events == 1 else waiting
    return f"{upto}, {show_duration(found.behind_seconds * 1000)} behind: {verb}{stands}."


def _seconds(text: str) -> float:
    seconds = parse_duration(text)
    if seconds is None:
        raise CommandError(
            f"--max-behind takes a duration such as 10s, 5m or 1h, or any, not {text!r}.",
            exit_code=USAGE,
            kind="usage",
        )
    return seconds
