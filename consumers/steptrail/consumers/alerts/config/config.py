"""The alerts file: owners, routes, grouping, targets; validated as a whole before it takes effect."""

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
    """An alerts file is invalid; the message names every line and key. None of it takes effect."""

    consequence = "Nothing of this file is in force; what was in force before still is."
    quotes_lines = False


@dataclass(frozen=True)
class AlertsConfig:
    """The content of an alerts file. `digest` identifies the content, including secrets."""

    policy: AlertPolicy = field(default_factory=AlertPolicy)
    targets: Mapping[str, Target] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def load(cls, path: Path) -> AlertsConfig:
        """Read a file and the secrets it refers to. Raises AlertsFileError, which lists every mistake."""
        return cls.parse(read_text(path, AlertsFileError), str(path), SecretPlaces(folder=path.parent))

    @classmethod
    def parse(cls, text: str, source: str = "alerts", places: SecretPlaces | None = None) -> AlertsConfig:
        """Parse TOML; `source` names it in messages. Raises AlertsFileError."""
        places = places or SecretPlaces()
        document = parse(text, AlertsDocument, source=source, error=AlertsFileError, context=places)
        targets = document.targets()
        secrets = [secret for target in targets.values() for secret in target.secrets()]
        digest = hashlib.sha256(repr((text, sorted(secrets))).encode()).hexdigest()
        return cls(document.policy(targets), targets, digest)
