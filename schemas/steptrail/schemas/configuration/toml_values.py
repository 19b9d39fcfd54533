"""Value types of configuration files; their errors state what was found and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from steptrail.schemas.near_names import or_near

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SHOWN = 80


def shown(value: Any) -> str:
    """A value as messages quote it, truncated if long."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python writes out
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def which_of(value: Any, allowed: Sequence[str]) -> str:
    """The message that `value` is not one of the `allowed` texts, with a suggestion."""
    quoted = [f'"{each}"' for each in allowed]
    listed = f"neither {quoted[0]} nor {quoted[1]}" if len(quoted) == 2 else f"none of {', '.join(quoted)}"
    return f"{shown(value)} is {listed}{or_near(value, allowed) if isinstance(value, str) else ''}"


def number(low: float, high: float) -> BeforeValidator:
    """A number from `low` to `high`, as a float."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{shown(value)} is not a number")
        if not low <= value <= high:
            raise ValueError(f"{shown(value)} is not between {low:g} and {high:g}")
        return float(value)

    return BeforeValidator(check)


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"{shown(value)} is not a whole number between {low} and {high}")

    return BeforeValidator(check)


def seconds(low: float, high: float) -> BeforeValidator:
    """A duration in seconds, from a number or a text such as "10m" or "1h30m"."""

    def check(value: Any) -> float:
        length = duration(value)
        if not low <= length <= high:
            raise ValueError(f"{shown(value)} is not between {_short(low)} and {_short(high)}")
        return length

    return BeforeValidator(check)


def duration(value: Any) -> float:
    """Parse a duration to seconds. Raises ValueError."""
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and not _DURATION.sub("", value).strip():
            return sum(float(count) * _SECONDS[unit] for count, unit in parts)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    raise ValueError(f'{shown(value)} is not a duration such as "10s", "5m" or "1h30m"')


def one_of(*allowed: str) -> BeforeValidator:
    """One of the `allowed` texts."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(which_of(value, allowed))

    return BeforeValidator(check)


def _short(length: float) -> str:
    """Seconds in the largest unit that gives a whole number: 86400.0 is "1d"."""
    unit = next((unit for unit in ("d", "h", "m", "s") if length and not length % _SECONDS[unit]), None)
    return f"{length / _SECONDS[unit]:g}{unit}" if unit else f"{length:g}s"


def _glob(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f'{shown(value)} is not a name or a glob such as "ocr*"')


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError(f"{shown(value)} is neither a text nor a list of texts")


Glob = Annotated[str, BeforeValidator(_glob)]
"""A name, or a glob of names."""

Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""A text, or a list of texts."""
