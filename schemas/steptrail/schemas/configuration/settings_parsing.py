"""Parsers of single settings; each raises ValueError that states what is expected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,200}")
_ADDRESS = re.compile(r"(?:[A-Za-z_]+://)?(?:\[[0-9a-fA-F:.%a-z]+\]|[^\s,:/\[\]]+)(?::(?P<port>\d{1,5}))?")


def check_addresses(value: str) -> str:
    """Check Kafka's bootstrap servers, such as `a:9092,b:9092`."""
    for address in value.split(","):
        match = _ADDRESS.fullmatch(address.strip())
        if match is None or not 0 < int(match["port"] or 9092) < 65536:
            raise ValueError("expected host:port, several with commas between")
    return value


def check_registry_urls(value: str) -> str:
    """Check a schema registry's URLs; credentials have their own settings, so that the URL may be shown."""
    for url in value.split(","):
        try:
            parts = urlsplit(url.strip())
            named = parts.hostname is not None and (parts.port is None or parts.port > 0)
        except ValueError:  # unmatched brackets, a port that is not a number
            parts, named = urlsplit(""), False
        if parts.username or parts.password:
            raise ValueError(
                "the URL holds a user or a password: put them into STEPTRAIL_SCHEMA_REGISTRY_USER and"
                " STEPTRAIL_SCHEMA_REGISTRY_PASSWORD"
            )
        if not named or parts.scheme not in ("http", "https"):
            raise ValueError("expected a URL such as http://127.0.0.1:8081, several with commas between")
    return value


def check_topic_prefix(value: str) -> str:
    """Check a topic name's prefix: only characters that Kafka allows."""
    if _TOPIC_PREFIX.fullmatch(value) is None or value in (".", ".."):
        raise ValueError("expected letters, digits, '.', '_' or '-', at most 200 of them")
    return value


def check_pipeline(value: str) -> str:
    """Check a pipeline's name: non-empty, valid UTF-8, without NUL."""
    if not value or "\0" in value or len(value.encode("utf-8", "replace")) > 1024:
        raise ValueError("expected a name of 1 to 1024 bytes, without NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("the name holds a lone surrogate, which UTF-8 cannot hold") from None
    return value


def parse_options(value: Any) -> Any:
    """Parse librdkafka properties: a mapping, a JSON object, or `name=value,name=value`.

    librdkafka takes text values; numbers and booleans are converted.
    """
    if isinstance(value, str):
        value = _options_of_text(value.strip())
    if not isinstance(value, Mapping):
        return value
    return {name: _option_text(item) for name, item in value.items()}


def _options_of_text(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            raise ValueError("expected a JSON object, but it does not parse") from None
        return dict(found)
    options = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError("expected name=value with commas between, or a JSON object")
        options[name.strip()] = value.strip()
    return options


def _option_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value
