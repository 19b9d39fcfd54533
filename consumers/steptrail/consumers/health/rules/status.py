"""Health status."""

from __future__ import annotations

from enum import Enum


class HealthStatus(str, Enum):
    """The health of a step, a pipeline or everything. UNKNOWN: it cannot be determined, which is never HEALTHY."""

    HEALTHY = "HEALTHY"
    UNKNOWN = "UNKNOWN"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    def __str__(self) -> str:
        return self.value

    @property
    def weight(self) -> int:
        """The order of severity: the most severe status stands for many. Known trouble outranks UNKNOWN, UNKNOWN
        HEALTHY.
        """
        return _WEIGHTS[self]

    @classmethod
    def of_level(cls, level: int) -> HealthStatus:
        """Convert a rule's level: 0 HEALTHY, 1 WARNING, 2 CRITICAL."""
        return (cls.HEALTHY, cls.WARNING, cls.CRITICAL)[level]


_WEIGHTS = {status: weight for weight, status in enumerate(HealthStatus)}
