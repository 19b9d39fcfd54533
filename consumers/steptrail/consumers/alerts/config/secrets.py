"""Secrets of targets: referenced in the configuration, read from the environment or files, never shown."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PREFIX = "whsec_"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
"""What is certain to be a name, and not the secret that somebody wrote in its place."""


class BadSecret(ValueError):
    """A secret is missing or invalid; the message names its place and never its content."""


@dataclass(frozen=True)
class SecretPlaces:
    """Reads secrets from the environment and from files (relative to the configuration's folder)."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    folder: Path = field(default_factory=Path)

    def of_variable(self, name: str) -> str:
        """The value of an environment variable. Raises BadSecret."""
        value = self.environ.get(name, "").strip()
        if not value and _VARIABLE.fullmatch(name):
            raise BadSecret(f"the variable {name} is not set")
        if not value:
            raise BadSecret(
                "is not the name of a variable that is set; it is not shown, for it may be the secret itself"
            )
        return value

    def of_file(self, name: str) -> str:
        """The content of a file, stripped of surrounding white space. Raises BadSecret."""
        try:
            value = (self.folder / name).read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise BadSecret(f"the file {name} is not UTF-8") from None
        except FileNotFoundError:  # not shown: it may be the secret itself
            raise BadSecret(f"the file of this name cannot be read: there is none in {self.folder}") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it has no name of a file"
            raise BadSecret(f"the file of this name cannot be read: {why}") from None
        if not value:
            raise BadSecret(f"the file {name} is empty")
        return value


def signing_key(text: str) -> bytes:
    """Decode a `whsec_…` secret of Standard Webhooks: 24 to 64 bytes as base64. Raises BadSecret."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("is not whsec_ and base64, as Standard Webhooks has secrets") from None
    if not text.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise BadSecret("is not whsec_ and the base64 of 24 to 64 bytes, as Standard Webhooks has secrets")
    return key


def each_of(value: object, read: Callable[[str], str]) -> list[str]:
    """Read the secrets of a name, or a list of names; several during a rotation."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise BadSecret("is not a name, or a list of names")
    return [read(name) for name in names]
