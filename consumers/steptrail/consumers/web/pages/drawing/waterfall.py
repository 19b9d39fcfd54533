"""The lanes of a waterfall: one SVG a row of its table, all on the same scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from steptrail.consumers.web.pages.drawing.svg import element
from steptrail.consumers.web.pages.drawing.timescale import Stretch, Timescale

_LEAST = 0.4  # percent: an instant can be seen, too


@dataclass(frozen=True, slots=True)
class Bar:
    """One execution on its lane: seconds of the scale's clock, its status in lower case, what it says on hovering."""

    start: float
    end: float
    status: str
    label: str
    is_open: bool = False
    waited_since: float | None = None


def lane(bars: Sequence[Bar], scale: Timescale) -> Markup:
    """The bars of one row. Waits before an execution are thin, running ones are dashed, cut pauses are marked."""
    drawn: list[Markup] = [_mark(cut) for cut in scale.cuts]
    for bar in bars:
        left, right = scale.at(bar.start) * 100, scale.at(bar.end) * 100
        if bar.waited_since is not None and bar.waited_since < bar.start:
            since = scale.at(bar.waited_since) * 100
            drawn.append(
                element(
                    "rect", x=_percent(since), y=8, width=_percent(left - since), height=4, class_="fill-wait"
                )
            )
        width = max(right - left, _LEAST)
        drawn.append(
            element(
                "rect",
                element("title", bar.label),
                x=_percent(min(left, 100 - width)),
                y=3,
                width=_percent(width),
                height=14,
                rx=2,
                class_=f"open stroke-{bar.status}" if bar.is_open else f"fill-{bar.status}",
            )
        )
    return element(
        "svg", *drawn, role="img", aria_label="; ".join(bar.label for bar in bars) or "nothing yet"
    )


def axis(scale: Timescale, tick_labels: Sequence[str], cut_labels: Sequence[str]) -> Markup:
    """The head of all lanes: a label for each of the scale's ticks, and how long each of its cut pauses was."""
    drawn = []
    for moment, text in zip(scale.ticks, tick_labels, strict=True):
        place = scale.at(moment)
        drawn.append(element("text", text, x=_percent(place * 100), y=14, text_anchor=_anchor(place)))
    for cut, text in zip(scale.cuts, cut_labels, strict=True):
        drawn.append(
            element("text", text, x=_percent((cut.place + cut.width / 2) * 100), y=14, text_anchor="middle")
        )
    return element("svg", *drawn, aria_hidden="true")


def _mark(cut: Stretch) -> Markup:
    return element("text", "╱╱", x=_percent((cut.place + cut.width / 2) * 100), y=14, text_anchor="middle")


def _percent(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"


def _anchor(place: float) -> str:
    return "start" if place < 0.05 else "end" if place > 0.95 else "middle"
