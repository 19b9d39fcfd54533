"""Statuses, durations and amounts as pages write them."""

from __future__ import annotations

from markupsafe import Markup, escape

from steptrail.schemas.values.visible import visible

SIGNS = {
    "SUCCESS": "✓",
    "HEALTHY": "✓",
    "RUNNING": "▶",
    "WARNING": "▲",
    "ERROR": "✕",
    "FAILED": "■",
    "CRITICAL": "■",
    "PENDING": "○",
    "SKIPPED": "–",
    "STALLED": "⏸",
    "UNKNOWN": "?",
}


def sign(status: str) -> str:
    """The sign of a status; `?` for a word that is none."""
    return SIGNS.get(status.upper(), "?")


def duration(milliseconds: float | None) -> str:
    """`45 µs`, `0.4 ms`, `112 ms`, `1.2 s`, `4 min 10 s`, `2 h 5 min`; empty for None."""
    if milliseconds is None:
        return ""
    if milliseconds < 0.1:
        return f"{milliseconds * 1_000:.0f} µs"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3_600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 86_400 * 2:
        return f"{int(seconds // 3_600)} h {int(seconds % 3_600 // 60)} min"
    return f"{int(seconds // 86_400)} d"


def percent(share: float | None) -> str:
    """`21 %`, `0.4 %`, `0 %`; empty for None."""
    if share is None:
        return ""
    value = share * 100
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"


def size(count: int) -> str:
    """Bytes or characters: `812 B`, `12 kB`, `3.1 MB`."""
    if count < 1_000:
        return f"{count} B"
    return f"{count / 1_000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def short(text: str | None, most: int) -> str:
    """At most so many characters, with … where there is more; what is not visible is written out."""
    shown = visible(text or "", keep="\n\t")
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def placeholders(template: str) -> Markup:
    """A template of an error group with its variable parts marked."""
    parts = []
    rest = visible(template)
    while rest:
        before, opened, after = rest.partition("<")
        name, closed, left = after.partition(">")
        if opened and closed and name.isalnum() and len(name) < 12:
            parts.append(escape(before) + Markup('<span class="quiet">&lt;{}&gt;</span>').format(name))
            rest = left
        else:
            parts.append(escape(before + opened))
            rest = after
    return Markup("").join(parts)
