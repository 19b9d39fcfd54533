"""What stands around every page: navigation, scope, time, and up to when the page can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.pages.clock import Clock, span
from steptrail.consumers.web.pages.timerange import CHOICES, TimeRange

PAGES = (
    ("overview", "Overview", "/"),
    ("failing", "Failing", "/failing"),
    ("documents", "Documents", "/documents"),
    ("errors", "Errors", "/errors"),
    ("steps", "Steps", "/steps"),
    ("operations", "Operations", "/operations"),
)
LATE_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Shown:
    """How fresh a page is, in words; `level` is "", "late" or "blind"."""

    sentence: str
    level: str
    sign: str


def shown_freshness(freshness: Iterable[Freshness | None], clock: Clock) -> Shown:
    """One sentence for all the answers of a page: that of the least fresh."""
    asked = list(freshness)
    known = [each for each in asked if each is not None]
    if not asked:
        return Shown("", "", "")
    if not known:
        return Shown("the store does not answer: this page knows nothing", "blind", "?")
    blind = next((each for each in known if each.as_of is None or each.behind_seconds is None), None)
    if blind is not None:
        return Shown(f"up to when this is known cannot be said: {blind.problem}", "blind", "?")
    least = min(known, key=lambda each: each.as_of or clock.now)
    assert least.as_of is not None
    assert least.behind_seconds is not None
    behind = least.behind_seconds
    moved = least.stands_still_since(datetime.now(timezone.utc).timestamp())
    stands = f"; the projector has not moved since {clock.text(moved)}" if moved is not None else ""
    sentence = f"everything up to {clock.text(least.as_of)}"
    if behind > LATE_AFTER_S:
        return Shown(
            f"{sentence}; {least.behind_events:,} events wait, the oldest for {span(behind)}{stands}",
            "late",
            "▲",
        )
    return Shown(f"{sentence}, {span(behind) if behind >= 1 else 'nothing'} behind{stands}", "", "✓")


class Links:
    """Addresses of pages that keep what the present one says: pipeline and time."""

    def __init__(
        self, path: str, pipeline: str | None, chosen: TimeRange | None, extra: Sequence[tuple[str, str]]
    ) -> None:
        self.path = path
        self.kept = {**({"pipeline": pipeline} if pipeline else {}), **(chosen.parameters if chosen else {})}
        self.extra = list(extra)

    def to(self, path: str, **parameters: Any) -> str:
        """`path` with what is kept and these parameters; None takes one away."""
        found = {**self.kept, **parameters}
        chosen = {name: str(value) for name, value in found.items() if value not in (None, "")}
        return f"{path}?{urlencode(chosen)}" if chosen else path

    def here(self, **parameters: Any) -> str:
        """The present page with these parameters changed."""
        return self.to(self.path, **{**dict(self.extra), **parameters})


def frame(
    *,
    current: str,
    clock: Clock,
    links: Links,
    pipeline: str | None,
    pipelines: Sequence[str],
    chosen: TimeRange | None,
    freshness: Shown,
    verdict: str,
    theme: str | None,
    live: bool,
    query: str | None = None,
) -> dict[str, Any]:
    """What `base.html` needs."""
    shown_range = None
    if chosen is not None:
        shown_range = {
            "since": chosen.between.since,
            "until": chosen.between.until,
            "since_text": chosen.since_text,
            "is_absolute": chosen.is_absolute,
            "label": f"{clock.text(chosen.between.since)} – {clock.text(chosen.between.until)}",
            "choices": CHOICES
            if any(chosen.since_text == key for key, _ in CHOICES) or chosen.is_absolute
            else ((chosen.since_text, chosen.since_text), *CHOICES),
            "frozen": links.here(**chosen.frozen),
        }
    return {
        "current": current,
        "pages": [{"key": key, "name": name, "href": links.to(path)} for key, name, path in PAGES],
        "pipeline": pipeline,
        "pipelines": sorted({*pipelines, *([pipeline] if pipeline else [])}),
        "range": shown_range,
        "kept": links.extra,
        "freshness": freshness,
        "verdict": verdict,
        "theme": theme if theme in ("light", "dark") else None,
        "zone": clock.zone_name,
        "offset": clock.offset,
        "live": live,
        "query": query,
        "here": links.here(),
        "version": version("steptrail"),
    }
