"""A series as small bars: one bar a slot, hatched where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from steptrail.consumers.web.pages.drawing.svg import element

_HEIGHT = 40.0
_GAP = 0.15  # of a slot


def bars(values: Sequence[float | None], label: str, colour: str = "text", *, inline: bool = False) -> Markup:
    """Bars from 0 to the greatest of `values`; None is drawn as a quiet mark of full height: no data, not nothing.

    `label` is what a screen reader reads in place of the drawing; `colour` is a status in lower case, or "text".
    """
    top = max((value for value in values if value), default=0.0) or 1.0
    drawn = []
    for slot, value in enumerate(values):
        known = value is not None
        height = max(_HEIGHT * value / top, 1.0) if known and value else (_HEIGHT if not known else 0.0)
        if height:
            drawn.append(
                element(
                    "rect",
                    x=slot + _GAP / 2,
                    y=_HEIGHT - height,
                    width=1 - _GAP,
                    height=height,
                    class_=f"fill-{colour if known else 'unknown'}",
                )
            )
    return element(
        "svg",
        element("title", label),
        *drawn,
        class_="spark inline" if inline else "spark",
        viewBox=f"0 0 {max(len(values), 1)} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
