"""The four words for health."""

from __future__ import annotations

from enum import Enum


class HealthStatus(str, Enum):
    """How something is. UNKNOWN: it cannot be seen, which is never HEALTHY."""

    HEALTHY = "HEALTHY"
    UNKNOWN = "UNKNOWN"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    def __str__(self) -> str:
        return self.value

    @property
    def weight(self) -> int:
        """Which one stands for many: the heaviest. Known trouble outweighs what is not known, that outweighs health."""
        return _WEIGHTS[self]

    @classmethod
    def of_level(cls, level: int) -> HealthStatus:
        """What a rule's level means: 0 HEALTHY, 1 WARNING, 2 CRITICAL."""
        return (cls.HEALTHY, cls.WARNING, cls.CRITICAL)[level]


_WEIGHTS = {status: weight for weight, status in enumerate(HealthStatus)}
