"""The targets of an alerts file with their secrets; no message and no repr shows a secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from steptrail.consumers.alerts.config.secrets import BadSecret, SecretPlaces, each_of, signing_key
from steptrail.consumers.alerts.delivery.fitting import Limits
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.templates import BUILT_IN, Template, custom, standard
from steptrail.consumers.runtime.backoff import BackoffPolicy
from steptrail.schemas.configuration.toml_file import Clashes, Found, Table
from steptrail.schemas.configuration.toml_values import one_of, seconds, shown, whole

_DAY = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_ELSEWHERE = "does not belong into this file: name a variable or a file that holds it"
Limit = Annotated[int, whole(200, 100_000_000)]


def _label(name: str) -> str:
    if _LABEL.fullmatch(name) is None:
        raise ValueError("a label's name has letters, digits and _")
    return name


Labels = dict[Annotated[str, AfterValidator(_label)], str]


def _name(value: Any) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("expected a name of letters, digits, '.', '_' and '-'")


def _url(url: Any) -> str:
    """Validate a receiver's URL, which is a secret in many services."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, good = urlsplit(""), False
    if not good or not url.isascii() or any(mark.isspace() for mark in url):
        raise ValueError("expected a URL such as https://hooks.example.com/abc")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or a password: give username and password_env instead")
    if parts.fragment:
        raise ValueError("ends in a #fragment, which is not sent to a server")
    return str(url)


def _plain(secret: str) -> str:
    if any(ord(mark) < 32 for mark in secret):
        raise BadSecret("the secret holds a line end or another control character")
    return secret


def _variables(value: Any, info: ValidationInfo) -> list[str]:
    return each_of(value, cast(SecretPlaces, info.context).of_variable)


def _files(value: Any, info: ValidationInfo) -> list[str]:
    return each_of(value, cast(SecretPlaces, info.context).of_file)


def _ca(value: Any, info: ValidationInfo) -> str:
    places = cast(SecretPlaces, info.context)
    if isinstance(value, str) and (path := places.folder / value).is_file():
        return str(path)
    raise ValueError(f"{shown(value)} is not a file in {places.folder}")


def _body(body: str) -> str:
    custom(body)
    return body


def _first(check: Callable[[str], str]) -> Any:
    return AfterValidator(lambda secrets: check(secrets[0]))


_FromVariable, _FromFile = BeforeValidator(_variables), BeforeValidator(_files)
_KEYS = AfterValidator(lambda secrets: [signing_key(secret) for secret in secrets])
_Hidden = Field(repr=False)


class TargetTable(Table):
    """`[[target]]`: the keys of every type of target."""

    name: Annotated[str, BeforeValidator(_name)]
    url: Annotated[str | None, _Hidden, BeforeValidator(_url)] = None
    url_env: Annotated[Any, _Hidden, _first(_url), _FromVariable] = None
    url_file: Annotated[Any, _Hidden, _first(_url), _FromFile] = None
    bearer_env: Annotated[Any, _Hidden, _first(_plain), _FromVariable] = None
    bearer_file: Annotated[Any, _Hidden, _first(_plain), _FromFile] = None
    username: str = ""
    password_env: Annotated[Any, _Hidden, _first(_plain), _FromVariable] = None
    password_file: Annotated[Any, _Hidden, _first(_plain), _FromFile] = None
    ca: Annotated[str | None, BeforeValidator(_ca)] = None
    timeout: Annotated[float, seconds(0.1, 300)] = 10.0
    attempts: Annotated[int, whole(1, 100)] = 6
    backoff: Annotated[float, seconds(0.01, 3600)] = 1.0
    backoff_most: Annotated[float, seconds(0.01, _DAY)] | None = None
    retry_after: Annotated[float, seconds(0.1, 7 * _DAY)] = 300.0
    max_bytes: Limit | None = None

    instead: ClassVar[Mapping[str, str]] = dict.fromkeys(("secret", "bearer", "password"), _ELSEWHERE)

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        urls = [key for key in ("url", "url_env", "url_file") if key in found]
        if not urls:
            yield "url", "is missing: give url, url_env or url_file"
        for key in urls[1:]:
            yield key, f"there is {urls[0]} already: keep one of url, url_env and url_file"
        for name in ("bearer", "password"):
            if f"{name}_env" in found and f"{name}_file" in found:
                yield f"{name}_file", f"there is {name}_env already"
        bearer, user = found.keys() & {"bearer_env", "bearer_file"}, found.get("username")
        password = next((key for key in ("password_env", "password_file") if key in found), None)
        if bearer and (user or password):
            yield "username" if user else str(password), "there is a bearer token already"
        elif user and password is None:
            yield "username", "needs password_env or password_file as well"
        elif password is not None and not user:
            yield password, "needs a username as well"

    def _target(self, kind: str) -> Target:
        cap = max(60.0, self.backoff) if self.backoff_most is None else self.backoff_most
        return Target(
            name=self.name,
            type=kind,
            url=self.url or self.url_env or self.url_file,
            headers=self._headers(),
            ca=self.ca,
            timeout=self.timeout,
            attempts=self.attempts,
            backoff=BackoffPolicy(self.backoff, 2.0, cap),
            retry_after=self.retry_after,
            most_bytes=self.max_bytes,
        )

    def _headers(self) -> dict[str, str]:
        if bearer := self.bearer_env or self.bearer_file:
            return {"Authorization": f"Bearer {bearer}"}
        if not self.username:
            return {}
        access = f"{self.username}:{self.password_env or self.password_file}"
        return {"Authorization": "Basic " + base64.b64encode(access.encode()).decode()}


class WebhookTable(TargetTable):
    """A target of type "webhook"."""

    type: Literal["webhook"]
    template: Annotated[str, one_of(*BUILT_IN)] | None = None
    body: Annotated[str, AfterValidator(_body)] | None = None
    max_chars: Limit | None = None
    secret_env: Annotated[Any, _Hidden, _KEYS, _FromVariable] = ()
    secret_file: Annotated[Any, _Hidden, _KEYS, _FromFile] = ()

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        yield from super()._clashes(found, context)
        if "template" in found and "body" in found:
            yield "body", "there is a template already"

    def target(self) -> Target:
        """As it is delivered to."""
        return replace(
            self._target(self.type), keys=(*self.secret_env, *self.secret_file), template=self._template()
        )

    def _template(self) -> Template:
        limits = Limits(self.max_chars, self.max_bytes)
        if self.body is not None:
            return custom(self.body, limits)
        return BUILT_IN[self.template](limits) if self.template else standard(limits)


class AlertmanagerTable(TargetTable):
    """A target of type "alertmanager"."""

    type: Literal["alertmanager"]
    labels: Labels = Field(default_factory=dict)
    resend: Annotated[float, seconds(1, 3600)] = 60.0

    def target(self) -> Target:
        """As it is delivered to."""
        return replace(self._target(self.type), labels=self.labels, resend=self.resend)
