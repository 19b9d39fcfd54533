"""Health: the consumer that computes verdicts, and its inputs. The rules are in `rules`."""

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict

__all__ = ["Finding", "HealthStatus", "Verdict"]
