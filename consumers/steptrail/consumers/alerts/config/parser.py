"""One pass over an alerts file that notes every mistake instead of stopping at the first."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from steptrail.consumers.alerts.config.secrets import BadSecret, SecretPlaces, each_of, signing_key
from steptrail.consumers.alerts.delivery.fitting import Limits
from steptrail.consumers.alerts.delivery.target import ALERTMANAGER, WEBHOOK, Target
from steptrail.consumers.alerts.delivery.templates import BUILT_IN, BadTemplate, Template, custom, standard
from steptrail.consumers.alerts.model.policy import (
    SEVERITIES,
    AlertPolicy,
    Grouping,
    Inhibition,
    Owner,
    Route,
)
from steptrail.consumers.runtime.backoff import BackoffPolicy

At = tuple[str | int, ...]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DAY = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_LEAST = 200
_GROUPING = ("group_by", "group_wait", "group_interval", "repeat_interval")
_MATCHERS = ("pipeline", "step", "owner", "kind", "severity")
_SECRETS = ("secret", "url", "bearer", "password")


@dataclass(frozen=True)
class Mistake:
    """What is wrong with one key; `line` counts from 1, None if it could not be told."""

    line: int | None
    key: str
    what: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "somewhere"
        return f"{where}, {self.key}: {self.what}" if self.key else f"{where}: {self.what}"


class Reading:
    """`mistakes` are those found so far."""

    def __init__(self, lines: Mapping[tuple[str | int, ...], int], places: SecretPlaces) -> None:
        self.mistakes: list[Mistake] = []
        self._lines = lines
        self._places = places

    def everything(self, document: dict[str, Any]) -> tuple[AlertPolicy, dict[str, Target]]:
        """The policy and the targets; what they are worth only where there are no mistakes."""
        self._known(document, (), ("defaults", "owner", "target", "route", "inhibition", "alerts"))
        defaults_table = self._table(document.get("defaults", {}), ("defaults",))
        self._known(defaults_table, ("defaults",), _GROUPING)
        defaults = self._grouping(defaults_table, ("defaults",), Grouping())
        targets: dict[str, Target] = {}
        for number, table in enumerate(self._tables(document, "target")):
            target = self._target(table, ("target", number))
            if target is not None and target.name in targets:
                self._wrong(("target", number, "name"), f"there is a target {target.name!r} already")
            if target is not None:
                targets[target.name] = target
        owners = tuple(
            self._owner(table, ("owner", number))
            for number, table in enumerate(self._tables(document, "owner"))
        )
        named = {name for table in self._tables(document, "target") if (name := table.get("name"))}
        routes: list[Route] = []
        for number, table in enumerate(self._tables(document, "route")):
            route = self._route(table, ("route", number), defaults, named)
            if any(each.name == route.name for each in routes):
                self._wrong(("route", number, "name"), f"there is a route {route.name!r} already")
            routes.append(route)
        asked = self._table(document.get("alerts", {}), ("alerts",))
        self._known(asked, ("alerts",), ("of_pipelines",))
        policy = AlertPolicy(
            tuple(routes),
            {name: target.policy for name, target in targets.items()},
            owners,
            self._inhibition(document),
            self._flag(asked, "of_pipelines", ("alerts",), False),
            defaults,
        )
        return policy, targets

    # --- tables

    def _owner(self, table: dict[str, Any], at: At) -> Owner:
        self._known(table, at, ("pipeline", "step", "owner", "labels"))
        owner = table.get("owner", "")
        if not isinstance(owner, str):
            self._wrong((*at, "owner"), f"{owner!r} is not a name")
            owner = ""
        labels = self._labels(table, at)
        return Owner(self._glob(table, "pipeline", at), self._glob(table, "step", at), owner, labels)

    def _route(self, table: dict[str, Any], at: At, defaults: Grouping, targets: set[str]) -> Route:
        self._known(table, at, ("name", "targets", "continue", *_MATCHERS, *_GROUPING))
        wanted = self._texts(table, "targets", at, ())
        if not wanted and "targets" not in table:
            self._wrong((*at, "targets"), "is missing: name the targets that are told")
        for name in wanted:
            if name not in targets:
                self._wrong((*at, "targets"), f"there is no target {name!r}")
        severities = self._texts(table, "severity", at, SEVERITIES)
        for severity in severities:
            if severity not in SEVERITIES:
                self._wrong((*at, "severity"), f"{severity!r} is none of {', '.join(SEVERITIES)}")
        number = at[-1]
        name = table.get("name", f"route {number + 1}" if isinstance(number, int) else "route")
        if not isinstance(name, str) or not name:
            self._wrong((*at, "name"), f"{name!r} is not a name")
            name = ""
        return Route(
            name,
            tuple(dict.fromkeys(wanted)),
            self._texts(table, "pipeline", at, ("*",)),
            self._texts(table, "step", at, ("*",)),
            self._texts(table, "owner", at, ("*",)),
            self._texts(table, "kind", at, ()) if "kind" in table else None,
            severities,
            self._flag(table, "continue", at, False),
            self._grouping(table, at, defaults),
        )

    def _grouping(self, table: dict[str, Any], at: At, otherwise: Grouping) -> Grouping:
        grouping = Grouping(
            self._texts(table, "group_by", at, otherwise.group_by),
            self._seconds(table, "group_wait", at, otherwise.wait, 0, _DAY),
            self._seconds(table, "group_interval", at, otherwise.interval, 0, 7 * _DAY),
            self._seconds(table, "repeat_interval", at, otherwise.repeat, 1, 365 * _DAY),
        )
        if grouping.repeat < grouping.interval:
            key = "repeat_interval" if "repeat_interval" in table else "group_interval"
            self._wrong((*at, key), "repeat_interval is less than group_interval")
        return grouping

    def _inhibition(self, document: dict[str, Any]) -> Inhibition:
        at: At = ("inhibition",)
        table = self._table(document.get("inhibition", {}), at)
        self._known(table, at, ("enabled", "kinds"))
        return Inhibition(
            self._flag(table, "enabled", at, True), self._texts(table, "kinds", at, Inhibition().kinds)
        )

    def _target(self, table: dict[str, Any], at: At) -> Target | None:
        before = len(self.mistakes)
        kind, name = table.get("type"), table.get("name")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            self._wrong((*at, "name"), "expected a name of letters, digits, '.', '_' and '-'")
        if kind not in (WEBHOOK, ALERTMANAGER):
            self._wrong((*at, "type"), f'{kind!r} is neither "{WEBHOOK}" nor "{ALERTMANAGER}"')
            return None
        only = (
            ("template", "body", "max_chars", "secret_env", "secret_file")
            if kind == WEBHOOK
            else ("labels", "resend")
        )
        patience = ("timeout", "attempts", "backoff", "backoff_most", "retry_after")
        access = (*_either("url"), *_either("bearer"), "username", *_either("password"), "ca")
        self._known(table, at, ("name", "type", "url", *access, *patience, "max_bytes", *only))
        url = self._url(table, at)
        first = self._seconds(table, "backoff", at, 1.0, 0.01, 3600)
        target = Target(
            name=str(name),
            type=str(kind),
            url=url,
            keys=self._keys(table, at),
            headers=self._access(table, at),
            template=self._template(table, at),
            labels=self._labels(table, at),
            ca=self._ca(table, at),
            timeout=self._seconds(table, "timeout", at, 10.0, 0.1, 300),
            attempts=self._whole(table, "attempts", at, 6, 1, 100),
            backoff=BackoffPolicy(
                first, 2.0, self._seconds(table, "backoff_most", at, max(60.0, first), 0.01, _DAY)
            ),
            retry_after=self._seconds(table, "retry_after", at, 300.0, 0.1, 7 * _DAY),
            resend=self._seconds(table, "resend", at, 60.0, 1, 3600),
            most_bytes=self._limit(table, "max_bytes", at),
        )
        return target if len(self.mistakes) == before else None

    # --- parts of a target

    def _url(self, table: dict[str, Any], at: At) -> str:
        found = self._secret(table, "url", at)
        if "url" in table:
            if found:
                self._wrong((*at, "url"), "is given twice: keep one of url, url_env and url_file")
            found = [table["url"]]
        key = next((key for key in ("url", *_either("url")) if key in table), "url")
        if not found:
            if key == "url":
                self._wrong((*at, "url"), "is missing: give url, url_env or url_file")
            return ""
        url = found[0]
        try:
            parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            parts, good = urlsplit(""), False
        if not good or not url.isascii() or any(mark.isspace() for mark in url):
            self._wrong((*at, key), "expected a URL such as https://hooks.example.com/abc")
        elif parts.username is not None or parts.password is not None:
            self._wrong((*at, key), "holds a user or a password: give username and password_env instead")
        elif parts.fragment:
            self._wrong((*at, key), "ends in a #fragment, which no server is sent")
        return url if isinstance(url, str) else ""

    def _keys(self, table: dict[str, Any], at: At) -> tuple[bytes, ...]:
        if "secret" in table:
            self._wrong(
                (*at, "secret"), "does not belong into this file: name a variable or a file that holds it"
            )
        found = []
        for key in _either("secret"):
            if key in table:
                try:
                    found += [signing_key(text) for text in self._read(key, table[key])]
                except BadSecret as error:
                    self._wrong((*at, key), str(error))
        return tuple(found)

    def _access(self, table: dict[str, Any], at: At) -> dict[str, str]:
        bearer, password = self._secret(table, "bearer", at), self._secret(table, "password", at)
        user = table.get("username", "")
        if not isinstance(user, str):
            self._wrong((*at, "username"), f"{user!r} is not a name")
        elif bearer and (user or password):
            self._wrong((*at, "username"), "there is a bearer token already")
        elif bool(user) != bool(password) and not any(key in table for key in _either("password")):
            self._wrong((*at, "username"), "needs password_env or password_file beside it")
        elif password and not user:
            key = next(key for key in _either("password") if key in table)
            self._wrong((*at, key), "needs a username beside it")
        for value in (*bearer, *password):
            if any(ord(mark) < 32 for mark in value):
                self._wrong(at, "a secret holds a line end or another control character")
                return {}
        if bearer:
            return {"Authorization": f"Bearer {bearer[0]}"}
        return {"Authorization": _basic(user, password[0])} if user and password else {}

    def _template(self, table: dict[str, Any], at: At) -> Template:
        name, body = table.get("template"), table.get("body")
        limits = Limits(self._limit(table, "max_chars", at), self._limit(table, "max_bytes", at))
        if name is not None and body is not None:
            self._wrong((*at, "body"), "there is a template already")
        elif body is not None:
            try:
                return custom(body if isinstance(body, str) else "", limits)
            except BadTemplate as error:
                self._wrong((*at, "body"), str(error))
        elif name is not None:
            if name in BUILT_IN:
                return BUILT_IN[name](limits)
            self._wrong((*at, "template"), f"{name!r} is none of {', '.join(BUILT_IN)}")
        return standard(limits)

    def _limit(self, table: dict[str, Any], key: str, at: At) -> int | None:
        """What a receiver takes; None where the file does not say."""
        return self._whole(table, key, at, _LEAST, _LEAST, 100_000_000) if key in table else None

    def _ca(self, table: dict[str, Any], at: At) -> str | None:
        name = table.get("ca")
        if name is None:
            return None
        if isinstance(name, str) and (path := self._places.folder / name).is_file():
            return str(path)
        self._wrong((*at, "ca"), f"{name!r} is not a file")
        return None

    def _secret(self, table: dict[str, Any], name: str, at: At) -> list[str]:
        """The secret `name` by one of its two keys; none where there is none, or a mistake."""
        if name != "url" and name in table:
            self._wrong(
                (*at, name), "does not belong into this file: name a variable or a file that holds it"
            )
        keys = [key for key in _either(name) if key in table]
        if len(keys) > 1:
            self._wrong((*at, keys[1]), f"there is {keys[0]} already")
        try:
            return self._read(keys[0], table[keys[0]])[:1] if keys else []
        except BadSecret as error:
            self._wrong((*at, keys[0]), str(error))
            return []

    def _read(self, key: str, value: Any) -> list[str]:
        places = self._places
        return each_of(value, places.of_variable if key.endswith("_env") else places.of_file)

    # --- values

    def _labels(self, table: dict[str, Any], at: At) -> dict[str, str]:
        labels = table.get("labels", {})
        if not isinstance(labels, dict):
            self._wrong((*at, "labels"), 'is not a table such as { team = "docs" }')
            return {}
        for key, value in labels.items():
            if _LABEL.fullmatch(key) is None:
                self._wrong((*at, "labels", key), "a label's name has letters, digits and _")
            if not isinstance(value, str):
                self._wrong((*at, "labels", key), f"{value!r} is not a text")
        return {key: value for key, value in labels.items() if isinstance(value, str)}

    def _glob(self, table: dict[str, Any], key: str, at: At) -> str:
        value = table.get(key, "*")
        if isinstance(value, str):
            return value
        self._wrong((*at, key), f'{value!r} is not a name or a glob such as "ocr*"')
        return "*"

    def _texts(self, table: dict[str, Any], key: str, at: At, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        """A text, or a list of texts."""
        value = table.get(key)
        if value is None:
            return otherwise
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self._wrong((*at, key), f"{value!r} is neither a text nor a list of texts")
        return otherwise

    def _flag(self, table: dict[str, Any], key: str, at: At, otherwise: bool) -> bool:
        value = table.get(key, otherwise)
        if isinstance(value, bool):
            return value
        self._wrong((*at, key), f"{value!r} is neither true nor false")
        return otherwise

    def _whole(self, table: dict[str, Any], key: str, at: At, otherwise: int, low: int, high: int) -> int:
        value = table.get(key, otherwise)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self._wrong((*at, key), f"{value!r} is not a whole number between {low} and {high}")
        return otherwise

    def _seconds(
        self, table: dict[str, Any], key: str, at: At, otherwise: float, low: float, high: float
    ) -> float:
        value = table.get(key, otherwise)
        if isinstance(value, str):
            parts = _DURATION.findall(value)
            if not parts or _DURATION.sub("", value).strip():
                self._wrong((*at, key), f'{value!r} is not a duration such as "10s", "5m" or "1h30m"')
                return otherwise
            value = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong((*at, key), f'{value!r} is not a duration such as "10s", "5m" or "1h30m"')
        elif not low <= value <= high:
            self._wrong((*at, key), f"is not between {low:g} and {high:g} seconds")
        else:
            return float(value)
        return otherwise

    def _tables(self, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = document.get(key, [])
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
        if not any(mistake.key == key for mistake in self.mistakes):
            self._wrong((key,), f"write it as [[{key}]], with two brackets")
        return []

    def _table(self, value: Any, at: At) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._wrong(at, f"is not a table; write it as [{at[0]}]")
        return {}

    def _known(self, table: Mapping[str, Any], at: At, known: tuple[str, ...]) -> None:
        for key in table:
            # A secret that is written out has a message of its own.
            if key not in known and not (at and at[0] == "target" and key in _SECRETS):
                self._wrong((*at, key), f"is not known here; known are {', '.join(known)}")

    def _wrong(self, at: At, what: str) -> None:
        line = next((self._lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self._lines), None)
        key = ".".join(f"[{part + 1}]" if isinstance(part, int) else part for part in at).replace(".[", "[")
        self.mistakes.append(Mistake(line, key, what))


def _either(name: str) -> tuple[str, str]:
    return f"{name}_env", f"{name}_file"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
