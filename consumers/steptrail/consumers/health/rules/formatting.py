"""Formats numbers for people."""

from __future__ import annotations

from steptrail.schemas.figures import figure


def percent(share: float) -> str:
    """ "21 %", "1.5 %", "0.2 %", "less than 0.1 %"."""
    value = 100 * share
    if 0 < value < 0.05:
        return "less than 0.1 %"
    return f"{value:.0f} %" if value >= 9.5 or value == round(value) else f"{value:.1f} %"


def span(seconds: float) -> str:
    """ "15 s", "4 min", "3.5 h", "2 days"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} days"


def milliseconds(value: float) -> str:
    """ "850 ms", "1.4 s", "3 min"."""
    if value < 999.5:
        return f"{figure(value)} ms"
    return f"{figure(value / 1000, 2)} s" if value < 99_500 else span(value / 1000)
