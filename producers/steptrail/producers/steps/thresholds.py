"""Upper bounds for a step's metrics: a step that exceeds one ends as WARNING, and its details list it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steptrail.schemas.values.plain_numbers import plain_number

PASSED_KEY = "thresholds_passed"
"""Where details hold what was passed: metric -> {"value": …, "threshold": …}."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Upper bounds of metrics by name; `duration_ms` is one of them. A value equal to its bound is fine."""

    bounds: Mapping[str, float]

    @classmethod
    def of(cls, warn_after_ms: object, thresholds: object) -> Thresholds:
        """Build from the arguments; raises TypeError or ValueError naming the argument."""
        bounds: dict[str, float] = {}
        if thresholds is not None:
            if not isinstance(thresholds, Mapping):
                raise TypeError(
                    f"thresholds must be a mapping of metric names to numbers, not {type(thresholds).__qualname__}"
                )
            for name, bound in thresholds.items():
                if not isinstance(name, str):
                    raise TypeError(f"thresholds must have metric names (str) as keys, not {name!r}")
                bounds[name] = _number(f"thresholds[{name!r}]", bound)
        if warn_after_ms is not None:
            bounds["duration_ms"] = _number("warn_after_ms", warn_after_ms)
        return cls(bounds)

    def passed(self, metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """The metrics above their bounds, each with its value and bound."""
        found: dict[str, dict[str, float]] = {}
        for name, bound in self.bounds.items():
            value = plain_number(metrics.get(name))
            if value is not None and value > bound:
                found[name] = {"value": value, "threshold": bound}
        return found


NO_THRESHOLDS = Thresholds({})


def _number(name: str, value: object) -> float:
    number = plain_number(value)
    if number is None:
        raise TypeError(f"{name} must be a number, not {type(value).__qualname__}")
    if number != number:
        raise ValueError(f"{name} must be a number, not nan")
    return number
