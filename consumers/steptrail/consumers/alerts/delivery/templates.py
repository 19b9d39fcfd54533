"""Bodies of webhooks: our own, Slack's, or JSON of the user's with names in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from steptrail.consumers.alerts.model.alert import RESOLVED, Alert, rfc3339
from steptrail.consumers.alerts.model.notification import Notification

Template = Callable[[Notification], bytes]

_SHOWN = 20
"""A text names so many alerts; a chat is not the place for more."""


class BadTemplate(ValueError):
    """A body is not JSON, or names what there is not; the message says what."""


def standard(told: Notification) -> bytes:
    """Ours: `type`, `timestamp` and `data`, as Standard Webhooks recommends, every alert with all its fields."""
    return orjson.dumps(
        {
            "type": f"alerts.{told.status}",
            "timestamp": rfc3339(told.made_at),
            "data": {
                "id": told.id,
                "status": told.status,
                "group": told.group,
                "title": title(told),
                "alerts": [alert.as_dict() for alert in told.alerts],
            },
        }
    )


def slack(told: Notification) -> bytes:
    """For an incoming webhook of Slack: a headline, and a section with a line for each alert."""
    shown = [f"{_MARKS[_mark(a)]} *{_slack(_heading(a))}*\n{_slack(a.sentence[:400])}" for a in _first(told)]
    lines = [*shown, *_more(told)]
    sections: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": line[:3000]}} for line in lines
    ]
    head = {"type": "header", "text": {"type": "plain_text", "text": title(told)[:150]}}
    return orjson.dumps({"text": _slack(title(told)), "blocks": [head, *sections]})


BUILT_IN: Mapping[str, Template] = {"standard": standard, "slack": slack}


def custom(body: str) -> Template:
    """A JSON document in whose texts `$name` stands for what there is to say. Raises BadTemplate.

    A text that is nothing but `$alerts` becomes the list of alerts. What is put in is never read as JSON: no
    error message can change the document.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadTemplate(f"is not JSON: {error}") from None
    unknown = sorted({name for text in _texts(document) for name in _NAME.findall(text)} - set(_NAMES))
    if unknown:
        known = ", ".join(f"${name}" for name in _NAMES)
        raise BadTemplate(f"${unknown[0]} is not known; known are {known}")

    def render(told: Notification) -> bytes:
        values = {name: value(told) for name, value in _NAMES.items()}
        return orjson.dumps(_filled(document, values))

    return render


def title(told: Notification) -> str:
    """One line: `2 firing, 1 resolved: invoices/ocr, letters`."""
    counts = {status: sum(a.status == status for a in told.alerts) for status in ("firing", RESOLVED)}
    told_of = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    if len(told.alerts) == 1:
        alert = told.alerts[0]
        return f"{_mark(alert)}: {alert.scope}, {alert.kind}"
    scopes = list(dict.fromkeys(alert.scope for alert in told.alerts))
    return f"{told_of}: {', '.join(scopes[:5])}{', …' if len(scopes) > 5 else ''}"


def text(told: Notification) -> str:
    """A line for each alert."""
    return "\n".join([*(f"{_heading(a)}: {a.sentence}" for a in _first(told)), *_more(told)])


def _joined(of: str) -> Callable[[Notification], str]:
    return lambda told: ", ".join(dict.fromkeys(filter(None, (a.value_of(of) for a in told.alerts))))


_NAMES: Mapping[str, Callable[[Notification], Any]] = {
    "title": title,
    "text": text,
    "status": lambda told: told.status,
    "id": lambda told: told.id,
    "group": lambda told: told.group,
    "count": lambda told: str(len(told.alerts)),
    "timestamp": lambda told: rfc3339(told.made_at),
    "pipeline": _joined("pipeline"),
    "step": _joined("step"),
    "severity": _joined("severity"),
    "kind": _joined("kind"),
    "owner": _joined("owner"),
    "alerts": lambda told: [alert.as_dict() for alert in told.alerts],
}
_NAME = re.compile(r"\$([a-z_]+)")
_MARKS = {
    "RESOLVED": ":large_green_circle:",
    "CRITICAL": ":red_circle:",
    "WARNING": ":large_yellow_circle:",
    "UNKNOWN": ":white_circle:",
}


def _filled(part: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        return {key: _filled(item, values) for key, item in part.items()}
    if isinstance(part, list):
        return [_filled(item, values) for item in part]
    if not isinstance(part, str):
        return part
    if part == "$alerts":
        return values["alerts"]
    return _NAME.sub(lambda found: _plain(values[found[1]]), part)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _texts(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [text for item in inner for text in _texts(item)]


def _mark(alert: Alert) -> str:
    return alert.severity.value if alert.firing else "RESOLVED"


def _heading(alert: Alert) -> str:
    owner = f" ({alert.owner})" if alert.owner else ""
    return f"{_mark(alert)} {alert.scope} {alert.kind}{owner}"


def _first(told: Notification) -> tuple[Alert, ...]:
    return told.alerts[:_SHOWN]


def _more(told: Notification) -> list[str]:
    more = len(told.alerts) - _SHOWN
    return [f"and {more} more"] if more > 0 else []


def _slack(text: str) -> str:
    # Slack's own three: without them an error message could mention a channel or hide a link.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
