"""Keeps secrets out of messages and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, overload

from pydantic import SecretStr

REDACTED: Final = "***"

_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential|\.pem$|_pem$|sasl\.jaas|oauthbearer\.config|keytab|api[._-]?key",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<start>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@'\"]*):[^\s'\"]*@")


def is_secret_name(name: str) -> bool:
    """Whether a setting or a librdkafka property of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


@overload
def redacted(value: str) -> str: ...
@overload
def redacted(value: Mapping[str, Any]) -> dict[str, Any]: ...
def redacted(value: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """Redact the passwords in a text's URLs, or a mapping's secrets at any level."""
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\g<start>:{REDACTED}@", value)
    return {key: REDACTED if _hides(key, item) else _inner(item) for key, item in value.items()}


def redact_message(message: str, config: Mapping[str, Any]) -> str:
    """Redact the secrets of `config` in a library's message (librdkafka quotes bad values)."""
    return redact_values(message, secrets_of(config))


def redact_values(message: str, secrets: Iterable[str]) -> str:
    """Redact these texts, longest first, and passwords in URLs."""
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        message = message.replace(secret, REDACTED)
    return redacted(message)


def secrets_of(config: Mapping[str, Any]) -> list[str]:
    """The secret values in a mapping of settings or librdkafka properties."""
    found: list[str] = []
    for key, value in config.items():
        if isinstance(value, SecretStr):
            found.append(value.get_secret_value())
        elif isinstance(value, Mapping):
            found.extend(secrets_of(value))
        elif isinstance(value, str) and is_secret_name(key):
            found.append(value)
            found.extend(
                line for line in value.splitlines() if len(line) > 8 and not line.startswith("-----")
            )
    return found


def _hides(key: str, value: Any) -> bool:
    return value is not None and (isinstance(value, SecretStr) or is_secret_name(key))


def _inner(value: Any) -> Any:
    return redacted(value) if isinstance(value, str | Mapping) else value
