"""What a figure is: a value, its unit, its bound, and the detail that explains it."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of `make bench`.

    `bound` says what is asked of `value` in words that people read (`>= 5`); `ok` whether it is met, by this
    value and by the others of the detail that are bounded too.
    """

    name: str
    value: float
    unit: str
    bound: str
    ok: bool
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_line(self, took_s: float) -> dict[str, Any]:
        """The JSON object that is printed."""
        return {
            "figure": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "bound": self.bound,
            "ok": self.ok,
            "detail": rounded(dict(self.detail)),
            "machine": machine(),
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "took_s": round(took_s, 1),
        }


def rounded(value: Any) -> Any:
    """`value` with its floats at four significant digits, at any depth."""
    if isinstance(value, float):
        if not math.isfinite(value) or value == 0:
            return value if value == 0 else str(value)
        return round(value, max(0, 3 - math.floor(math.log10(abs(value)))))
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> dict[str, Any]:
    """Cores that we may use, the processor's name, memory and Python."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu,
        "memory_gib": round(memory),
        "python": platform.python_version(),
    }
