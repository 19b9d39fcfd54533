"""The alerts file: owners, routes, grouping, targets; checked whole before any of it is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steptrail.consumers.alerts.config.document import AlertsDocument
from steptrail.consumers.alerts.config.secrets import SecretPlaces
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.policy import AlertPolicy
from steptrail.schemas.configuration.toml_file import TomlFileError, parse, read_text


class AlertsFileError(TomlFileError):
    """An alerts file is wrong; the message names every line and key. Nothing of it is in force."""

    consequence = "Nothing of this file is in force; what was in force before still is."
    quotes_lines = False


@dataclass(frozen=True)
class AlertsConfig:
    """What an alerts file says. `digest` differs where another says something else, secrets included."""

    policy: AlertPolicy = field(default_factory=AlertPolicy)
    targets: Mapping[str, Target] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def load(cls, path: Path) -> AlertsConfig:
        """Read a file and the secrets that it names. Raises AlertsFileError, which names every mistake."""
        return cls.parse(read_text(path, AlertsFileError), str(path), SecretPlaces(folder=path.parent))

    @classmethod
    def parse(cls, text: str, source: str = "alerts", places: SecretPlaces | None = None) -> AlertsConfig:
        """Read TOML; `source` names it in messages. Raises AlertsFileError."""
        places = places or SecretPlaces()
        document = parse(text, AlertsDocument, source=source, error=AlertsFileError, context=places)
        targets = document.targets()
        secrets = [secret for target in targets.values() for secret in target.secrets()]
        digest = hashlib.sha256(repr((text, sorted(secrets))).encode()).hexdigest()
        return cls(document.policy(targets), targets, digest)
