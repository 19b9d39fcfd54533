"""Health: the consumer that judges, and what its verdicts are made of. The rules themselves are in `rules`."""

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict

__all__ = ["Finding", "HealthStatus", "Verdict"]
