"""A configured target: its address, secrets, timeouts and retries."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from steptrail.consumers.alerts.delivery.templates import Template, standard
from steptrail.consumers.alerts.model.policy import Grouping, TargetPolicy
from steptrail.consumers.runtime.backoff import BackoffPolicy

WEBHOOK = "webhook"
ALERTMANAGER = "alertmanager"


@dataclass(frozen=True)
class Target:
    """Everything about one target. Times in seconds. Fields that may hold secrets are not in the repr.

    `timeout`: for one attempt in total. `attempts`: per notification; after them it is dead. `most_bytes`: of a request
    to an Alertmanager; a webhook's template has its own limits. `resend`: how often firing alerts are resent to an
    Alertmanager, which drops an alert after four times that without a resend.
    """

    name: str
    type: str
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    template: Template = field(default_factory=standard)
    labels: Mapping[str, str] = field(default_factory=dict)
    ca: str | None = None
    timeout: float = 10.0
    attempts: int = 6
    backoff: BackoffPolicy = field(default_factory=lambda: BackoffPolicy(1.0, 2.0, 60.0))
    retry_after: float = 300.0
    resend: float = 60.0
    most_bytes: int | None = None

    @property
    def shown(self) -> str:
        """Its address without the path, which is a secret in many services."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{self.port}"

    @property
    def port(self) -> int:
        """Its port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def policy(self) -> TargetPolicy:
        """What the engine needs of it."""
        if self.type == ALERTMANAGER:
            always = Grouping((), 0.0, 0.0, self.resend)
            return TargetPolicy(self.name, True, always, self.retry_after, resends=True)
        return TargetPolicy(self.name, retry_after=self.retry_after)

    def secrets(self) -> list[str]:
        """Texts that no message may contain."""
        parts = urlsplit(self.url)
        found = [self.url, parts.path.strip("/"), parts.query, *self.headers.values()]
        found += [value.partition(" ")[2] for value in self.headers.values()]
        found += [base64.b64encode(key).decode() for key in self.keys]
        return [text for text in found if len(text) > 3]
