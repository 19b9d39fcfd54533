"""The alerts file: owners, routes, grouping, targets; validated whole before any of it is in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steptrail.consumers.alerts.config.parser import Mistake, Reading
from steptrail.consumers.alerts.config.secrets import SecretPlaces
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.policy import AlertPolicy
from steptrail.consumers.health.rules.toml_lines import TomlMistake, read_toml
from steptrail.schemas.errors import ConfigurationError


class AlertsFileError(ConfigurationError):
    """An alerts file is wrong; the message names every line and key. Nothing of it is in force."""

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))
        lines = "\n".join(f"{source}, {mistake}" for mistake in self.mistakes)
        super().__init__(f"{lines}\nNothing of this file is in force; what was in force before still is.")


@dataclass(frozen=True)
class AlertsConfig:
    """What an alerts file says. `digest` tells whether another says the same, secrets included."""

    policy: AlertPolicy = field(default_factory=AlertPolicy)
    targets: Mapping[str, Target] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def load(cls, path: Path) -> AlertsConfig:
        """Read a file and the secrets that it names. Raises AlertsFileError, which names every mistake."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise AlertsFileError(str(path), [Mistake(None, "", f"cannot be read: {said}")]) from error
        return cls.parse(text, str(path), SecretPlaces(folder=path.parent))

    @classmethod
    def parse(cls, text: str, source: str = "alerts", places: SecretPlaces | None = None) -> AlertsConfig:
        """Read TOML; `source` names it in messages. Raises AlertsFileError."""
        try:
            document, lines = read_toml(text)
        except TomlMistake as error:
            raise AlertsFileError(source, [Mistake(error.line, "", str(error))]) from error
        reading = Reading(lines, places or SecretPlaces())
        policy, targets = reading.everything(document)
        if reading.mistakes:
            raise AlertsFileError(source, reading.mistakes)
        secrets = [secret for target in targets.values() for secret in target.secrets()]
        digest = hashlib.sha256(repr((text, sorted(secrets))).encode()).hexdigest()
        return cls(policy, targets, digest)
