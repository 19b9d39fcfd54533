"""States one after the other: the worse a state, the taller its mark, so that the shape says it without colour."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from steptrail.consumers.web.pages.drawing.svg import element

_HEIGHT = 20.0
_SHARE = {"healthy": 0.3, "success": 0.3, "warning": 0.65, "critical": 1.0, "unknown": 1.0}


def strip(states: Sequence[str], label: str) -> Markup:
    """One mark for each of `states` (words of health, in any case; all others are unknown), oldest first."""
    drawn = []
    for slot, state in enumerate(states):
        word = state.lower() if state.lower() in _SHARE else "unknown"
        height = _HEIGHT * _SHARE[word]
        drawn.append(
            element(
                "rect", x=slot + 0.05, y=_HEIGHT - height, width=0.9, height=height, class_=f"fill-{word}"
            )
        )
    return element(
        "svg",
        element("title", label),
        *drawn,
        class_="spark inline",
        viewBox=f"0 0 {max(len(states), 1)} {_HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
