"""Webhook bodies: steptrail's own, Slack's, Discord's, or a user's JSON template.

Each body stays within its receiver's limits and can be shortened: `shorter` halves the room for text that many times.
A body for programs omits no alerts, but is split into several (`parts`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from steptrail.consumers.alerts.delivery import fitting
from steptrail.consumers.alerts.delivery.chat_text import (
    cut,
    for_discord,
    for_slack,
    plain,
    units,
    unmentioned,
)
from steptrail.consumers.alerts.delivery.fitting import (
    NO_LIMITS,
    Limits,
    escaped_within,
    fitted,
    halved,
    mark,
    named,
    said,
    title,
    whole_text,
)
from steptrail.consumers.alerts.model.alert import MAX_SENTENCE, Alert, rfc3339
from steptrail.consumers.alerts.model.notification import Notification, notification

MOST_SHORTER = 6
"""A text is halved so often and no more."""

_SLACK_HEADER, _SLACK_SECTION, _SLACK_MESSAGE = 150, 3000, 12_000
_DISCORD_CONTENT = 2000
_ROOM_FOR_TITLE = 400
_LEAST_TEXT = 20


class BadTemplate(ValueError):
    """A template is not JSON, or uses an unknown name; the message states which."""


@dataclass(frozen=True)
class Template:
    """Renders bodies; `source`, its name or document, and `limits` identify it.

    `splits`: every alert must arrive, so a body that is too long is split.
    """

    source: str
    limits: Limits
    render: Callable[[Notification, int], bytes] = field(compare=False, repr=False)
    splits: bool = False

    def __call__(self, told: Notification, shorter: int = 0) -> bytes:
        """Render one notification, shortened further if it would exceed the limit of bytes."""
        body = self.render(told, shorter)
        while self.limits.bytes is not None and len(body) > self.limits.bytes and shorter < MOST_SHORTER:
            shorter += 1
            body = self.render(told, shorter)
        return body

    def parts(self, told: Notification, shorter: int = 0) -> list[tuple[Notification, bytes]]:
        """The notifications to send, each with its body: the whole, or parts with their own ids."""
        whole = 1 << shorter if self.splits else 1
        most = -(-len(told.alerts) // whole)
        found = []
        for start in range(0, len(told.alerts), most):
            found += self._split(told, told.alerts[start : start + most], shorter)
        return found

    def _split(
        self, told: Notification, alerts: Sequence[Alert], shorter: int
    ) -> list[tuple[Notification, bytes]]:
        part = (
            told
            if len(alerts) == len(told.alerts)
            else notification(told.target, told.group, alerts, told.made_at, refresh=told.refresh)
        )
        body = self.render(part, shorter)
        if not self.splits or len(alerts) == 1 or len(body) <= (self.limits.bytes or len(body)):
            return [(part, self(part, shorter))]
        half = len(alerts) // 2
        return self._split(told, alerts[:half], shorter) + self._split(told, alerts[half:], shorter)


def standard(limits: Limits = NO_LIMITS) -> Template:
    """steptrail's format: `type`, `timestamp` and `data`, as Standard Webhooks recommends, with all fields of every
    alert.
    """
    return Template("standard", limits, _standard, True)


def slack(limits: Limits = NO_LIMITS) -> Template:
    """For a Slack incoming webhook: a headline, and a section with one line per alert."""
    return Template("slack", limits, partial(_slack, limits))


def discord(limits: Limits = NO_LIMITS) -> Template:
    """For a Discord webhook: a text of at most 2,000 characters that mentions nobody."""
    return Template("discord", limits, partial(_discord, limits))


BUILT_IN: Mapping[str, Callable[[Limits], Template]] = {
    "standard": standard,
    "slack": slack,
    "discord": discord,
}


def custom(body: str, limits: Limits = NO_LIMITS) -> Template:
    """A JSON document whose texts may contain `$name` placeholders. Raises BadTemplate.

    A text that is exactly `$alerts` becomes the list of alerts. Inserted values are never parsed as JSON: no error
    message can change the document. Values cannot mention anybody in known chats; `$alerts` is inserted unchanged.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadTemplate(f"is not JSON: {error}") from None
    texts = _texts(document)
    unknown = sorted({name for text in texts for name in _NAME.findall(text)} - set(_NAMES))
    if unknown:
        known = ", ".join(f"${name}" for name in _NAMES)
        raise BadTemplate(f"${unknown[0]} is not known; known are {known}")
    splits = any("$alerts" in text for text in texts)
    return Template(body, limits, partial(_custom, document, limits), splits)


# --- ours


def _standard(told: Notification, shorter: int) -> bytes:
    return orjson.dumps(
        {
            "type": f"alerts.{told.status}",
            "timestamp": rfc3339(told.made_at),
            "data": {
                "id": told.id,
                "status": told.status,
                "group": told.group,
                "title": title(told),
                "alerts": _alerts(told, MAX_SENTENCE >> shorter),
            },
        }
    )


def _alerts(told: Notification, sentence: int) -> list[dict[str, Any]]:
    """All fields of every alert; a sentence has at most `sentence` characters."""
    return [replace(alert, sentence=cut(alert.sentence, sentence)).as_dict() for alert in told.alerts]


# --- chats


def _slack(limits: Limits, told: Notification, shorter: int) -> bytes:
    def line(alert: Alert, sentence: int) -> str:
        link = f" <{alert.link}|details>" if alert.link else ""
        heading = f"{_SLACK_MARKS[mark(alert)]} *{for_slack(named(alert))}*"
        return f"{heading}{link}\n{for_slack(said(alert, sentence))}"

    room = min(limits.chars or _SLACK_MESSAGE, _SLACK_MESSAGE)
    if shorter:
        room = halved(min(room, whole_text(told, line)), shorter)
    sections: list[dict[str, Any]] = [
        # Plain text: no address, name or channel in it becomes a link or a mention.
        {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
        for text in fitted(told, line, room, each=_SLACK_SECTION)
    ]
    head = {
        "type": "header",
        "text": {"type": "plain_text", "text": cut(unmentioned(title(told)), _SLACK_HEADER)},
    }
    return orjson.dumps({"text": escaped_within(title(told), 1000, for_slack), "blocks": [head, *sections]})


def _discord(limits: Limits, told: Notification, shorter: int) -> bytes:
    def line(alert: Alert, sentence: int) -> str:
        link = f" <{alert.link}>" if alert.link else ""
        heading = f"{_DISCORD_MARKS[mark(alert)]} **{for_discord(named(alert))}**"
        return f"{heading}: {for_discord(said(alert, sentence))}{link}"

    room = min(limits.chars or _DISCORD_CONTENT, _DISCORD_CONTENT)
    head = f"**{escaped_within(title(told), _ROOM_FOR_TITLE, for_discord)}**"
    if shorter:
        room = halved(min(room, whole_text(told, line) + units(head) + 1), shorter)
    if len(told.alerts) > 1 and room >= 2 * units(head):
        lines = [head, *fitted(told, line, room - units(head) - 1)]
    else:  # the single alert's line repeats the title
        lines = fitted(told, line, room)
    content = cut("\n".join(lines), min(limits.chars or _DISCORD_CONTENT, _DISCORD_CONTENT))
    # No mention takes effect, and no address in an error message is fetched for a preview.
    return orjson.dumps({"content": content, "allowed_mentions": {"parse": []}, "flags": 4})


_SLACK_MARKS = {
    "RESOLVED": ":large_green_circle:",
    "CRITICAL": ":red_circle:",
    "WARNING": ":large_yellow_circle:",
    "UNKNOWN": ":white_circle:",
}
_DISCORD_MARKS = {"RESOLVED": "🟢", "CRITICAL": "🔴", "WARNING": "🟡", "UNKNOWN": "⚪"}


# --- the user's


def _custom(document: Any, limits: Limits, told: Notification, shorter: int) -> bytes:
    values = {name: value(told) for name, value in _NAMES.items()}
    values |= {name: cut(values[name], 500 >> shorter) for name in _LONG}
    values["alerts"] = _alerts(told, MAX_SENTENCE >> shorter)
    room = whole_text(told, _line)
    if shorter:
        room = halved(min(room, limits.chars or room), shorter)
    while True:
        values["text"] = unmentioned("\n".join(fitted(told, _line, room)))
        filling = _Filling(values, limits.chars)
        body = orjson.dumps(filling.fill(document))
        if not filling.excess or room <= _LEAST_TEXT:
            return body
        room = max(room - filling.excess, _LEAST_TEXT)


class _Filling:
    """Fills a document with values; truncates texts longer than `most` units by `excess` units."""

    def __init__(self, values: Mapping[str, Any], most: int | None) -> None:
        self.excess = 0
        self._values = values
        self._most = most

    def fill(self, part: Any) -> Any:
        """Fill a part of the document."""
        if isinstance(part, dict):
            return {key: self.fill(item) for key, item in part.items()}
        if isinstance(part, list):
            return [self.fill(item) for item in part]
        if not isinstance(part, str):
            return part
        if part == "$alerts":
            return self._values["alerts"]
        text = _NAME.sub(lambda found: _plain(self._values[found[1]]), part)
        if self._most is None or units(text) <= self._most:
            return text
        self.excess = max(self.excess, units(text) - self._most)
        return cut(text, self._most)


def _line(alert: Alert, sentence: int) -> str:
    link = f" {alert.link}" if alert.link else ""
    return f"{named(alert)}: {said(alert, sentence)}{link}"


def _joined(of: str) -> Callable[[Notification], str]:
    return lambda told: unmentioned(
        fitting.joined([cut(plain(alert.value_of(of)), 200) for alert in told.alerts], 20)
    )


_NAMES: Mapping[str, Callable[[Notification], Any]] = {
    "title": lambda told: unmentioned(title(told)),
    "text": lambda told: "",
    "status": lambda told: told.status,
    "id": lambda told: told.id,
    "group": lambda told: unmentioned(cut(plain(told.group), 500)),
    "count": lambda told: str(len(told.alerts)),
    "timestamp": lambda told: rfc3339(told.made_at),
    "pipeline": _joined("pipeline"),
    "step": _joined("step"),
    "severity": _joined("severity"),
    "kind": _joined("kind"),
    "owner": _joined("owner"),
    "link": lambda told: next((alert.link for alert in fitting.worst_first(told) if alert.link), ""),
    "alerts": lambda told: [],
}
_LONG = ("title", "group", "pipeline", "step", "kind", "owner")
_NAME = re.compile(r"\$([a-z_]+)")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _texts(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [text for item in inner for text in _texts(item)]
