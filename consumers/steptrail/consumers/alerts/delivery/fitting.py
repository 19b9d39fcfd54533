"""Fits many alerts into limited room: the worst first, shorter sentences before fewer alerts, and a count of the
rest.
"""

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
    """A receiver's limits: `chars` (UTF-16 units) per text, `bytes` per body; None means the receiver's default."""

    chars: int | None = None
    bytes: int | None = None


NO_LIMITS = Limits()


Line = Callable[[Alert, int], str]
"""Says one alert, its sentence in about so many characters, escaped as its receiver wants it."""


def worst_first(told: Notification) -> list[Alert]:
    """Firing alerts before ended ones, the most severe first, then the longest firing."""
    return sorted(told.alerts, key=lambda a: (not a.firing, -a.severity.weight, a.since, a.id))


def fitted(told: Notification, line: Line, room: int | None, *, each: int | None = None) -> list[str]:
    """Lines of `room` units in total (newlines count), at most `each` per line; the last may be "and 12 more".

    Never empty, even without any room.
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
    """Length of the untruncated text in units."""
    return _size(fitted(told, line, None))


def halved(room: int, shorter: int) -> int:
    """The room after `shorter` refusals for size."""
    return max(room >> shorter, _FEWEST)


def named(alert: Alert) -> str:
    """`CRITICAL invoices/ocr errors (team)`, bounded, in one line."""
    owner = f" ({cut(plain(alert.owner), _NAMED)})" if alert.owner else ""
    return f"{mark(alert)} {scope(alert)} {cut(plain(alert.kind), _NAMED)}{owner}"


def said(alert: Alert, sentence: int) -> str:
    """Its evidence in about `sentence` characters, in one line; with its time and examples if there is room."""
    told = cut(plain(alert.sentence), sentence)
    if sentence < _WITH_EXAMPLES:
        return told
    if alert.evidence_at is not None:
        told += f" (as of {rfc3339(alert.evidence_at)[11:19]} UTC)"
    if alert.examples:
        told += "; for example " + ", ".join(cut(plain(example), _NAMED) for example in alert.examples)
    return told


def scope(alert: Alert) -> str:
    """Its scope, bounded, in one line."""
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
    """The distinct texts, at most `most` of them."""
    different = list(dict.fromkeys(filter(None, texts)))
    return ", ".join(different[:most]) + (", …" if len(different) > most else "")


def escaped_within(text: str, most: int, escape: Callable[[str], str]) -> str:
    """As much of `text` as fits `most` units after escaping."""
    room = most
    while units(told := escape(cut(text, room))) > most and room > 0:
        room = min(room - 1, room * most // units(told))
    return told


def _within(line: Line, alert: Alert, sentence: int, most: int | None) -> str:
    """The line, with a shorter sentence if escapes make it longer than `most`."""
    told = line(alert, sentence)
    while most is not None and units(told) > most and sentence > 0:
        sentence = min(sentence * 2 // 3, most)
        told = line(alert, sentence)
    return told if most is None else cut(told, most)


def _more(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _size(lines: Sequence[str]) -> int:
    return sum(units(line) + 1 for line in lines) - 1
