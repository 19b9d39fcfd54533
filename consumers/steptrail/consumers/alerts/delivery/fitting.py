"""Many alerts in little room: the worst first, shorter sentences before fewer alerts, and how many were left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steptrail.consumers.alerts.delivery.chat_text import cut, plain, units
from steptrail.consumers.alerts.model.alert import Alert, rfc3339
from steptrail.consumers.alerts.model.notification import Notification

MOST_NAMED = 20
"""A text names so many alerts; a chat is not the place for more."""

_SENTENCES = (400, 200, 100, 50, 25)
_WITH_EXAMPLES = 200
_NAMED = 80
_FEWEST = 40


@dataclass(frozen=True)
class Limits:
    """What a receiver takes: `chars` (UTF-16 units) in one text, `bytes` in one body; None: as is usual for it."""

    chars: int | None = None
    bytes: int | None = None


NO_LIMITS = Limits()


Line = Callable[[Alert, int], str]
"""Says one alert, its sentence in about so many characters, escaped as its receiver wants it."""


def worst_first(told: Notification) -> list[Alert]:
    """Those that fire before those that ended, the heaviest first, then those that fire longest."""
    return sorted(told.alerts, key=lambda a: (not a.firing, -a.severity.weight, a.since, a.id))


def fitted(told: Notification, line: Line, room: int | None, *, each: int | None = None) -> list[str]:
    """Lines of `room` units together (an end of line counts), of `each` at most; the last may be "and 12 more".

    Never empty, even where there is room for nothing.
    """
    alerts = worst_first(told)
    lines: list[str] = []
    for sentence in _SENTENCES:
        lines = [_within(line, alert, sentence, each) for alert in alerts[:MOST_NAMED]]
        whole = [*lines, *_more(len(alerts) - len(lines))]
        if room is None or _size(whole) <= room:
            return whole
    assert room is not None
    size = _size(lines)
    while len(lines) > 1:
        size -= units(lines.pop()) + 1
        more = _more(len(alerts) - len(lines))
        if size + _size(more) + 1 <= room:
            return [*lines, *more]
    more = _more(len(alerts) - 1)
    left = room - (_size(more) + 1)
    return [_within(line, alerts[0], _SENTENCES[-1], max(left, _FEWEST)), *more]


def whole_text(told: Notification, line: Line) -> int:
    """How long the text would be with room for everything; in units."""
    return _size(fitted(told, line, None))


def halved(room: int, shorter: int) -> int:
    """The room after so many refusals for size."""
    return max(room >> shorter, _FEWEST)


def named(alert: Alert) -> str:
    """`CRITICAL invoices/ocr errors (team)`, bounded, in one line."""
    owner = f" ({cut(plain(alert.owner), _NAMED)})" if alert.owner else ""
    return f"{mark(alert)} {scope(alert)} {cut(plain(alert.kind), _NAMED)}{owner}"


def said(alert: Alert, sentence: int) -> str:
    """Its evidence in about so many characters, in one line; where there is room, as of when, and examples."""
    told = cut(plain(alert.sentence), sentence)
    if sentence < _WITH_EXAMPLES:
        return told
    if alert.evidence_at is not None:
        told += f" (as of {rfc3339(alert.evidence_at)[11:19]} UTC)"
    if alert.examples:
        told += "; for example " + ", ".join(cut(plain(example), _NAMED) for example in alert.examples)
    return told


def scope(alert: Alert) -> str:
    """What it is about, bounded, in one line."""
    return "/".join(cut(plain(part), _NAMED) for part in (alert.pipeline, alert.step) if part) or "everything"


def mark(alert: Alert) -> str:
    """Its severity, or RESOLVED."""
    return alert.severity.value if alert.firing else "RESOLVED"


def title(told: Notification) -> str:
    """One line: `2 firing, 1 resolved: invoices/ocr, letters`; 250 units at most."""
    if len(told.alerts) == 1:
        (alert,) = told.alerts
        return cut(f"{mark(alert)}: {scope(alert)}, {plain(alert.kind)}", 250)
    counts = {status: sum(a.status == status for a in told.alerts) for status in ("firing", "resolved")}
    told_of = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return cut(f"{told_of}: {joined([scope(alert) for alert in worst_first(told)], 5)}", 250)


def joined(texts: Sequence[str], most: int) -> str:
    """The different ones of them, `most` at most."""
    different = list(dict.fromkeys(filter(None, texts)))
    return ", ".join(different[:most]) + (", …" if len(different) > most else "")


def escaped_within(text: str, most: int, escape: Callable[[str], str]) -> str:
    """As much of `text` as has `most` units once it is escaped."""
    room = most
    while units(told := escape(cut(text, room))) > most and room > 0:
        room = min(room - 1, room * most // units(told))
    return told


def _within(line: Line, alert: Alert, sentence: int, most: int | None) -> str:
    """The line, with a shorter sentence where escapes make it longer than `most`."""
    told = line(alert, sentence)
    while most is not None and units(told) > most and sentence > 0:
        sentence = min(sentence * 2 // 3, most)
        told = line(alert, sentence)
    return told if most is None else cut(told, most)


def _more(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _size(lines: Sequence[str]) -> int:
    return sum(units(line) + 1 for line in lines) - 1
