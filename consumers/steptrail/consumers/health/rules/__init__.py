"""Health, the pure part: aggregates of closed slots in, verdicts with their evidence out. No clock, no I/O.

Who only reads verdicts needs nothing but `HealthStatus`, `Finding` and `Verdict`; the rule itself needs numpy, which
is loaded with the first name of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict
from steptrail.consumers.health.rules.watermark import Blindness, Sight, SightPolicy, Watermark

if TYPE_CHECKING:
    from steptrail.consumers.health.rules.judge import Judge, Judgement
    from steptrail.consumers.health.rules.policy import Policy, Threshold
    from steptrail.consumers.health.rules.rules import Rules, RulesError
    from steptrail.consumers.health.rules.slots import Slot, SlotBuffer, StepCounts, StepKey, slot_of
    from steptrail.consumers.health.rules.stalled import Observation, Observed, OpenExecution, observations
    from steptrail.consumers.health.rules.state import SnapshotError, State

_LAZY = {
    "judge": ("Judge", "Judgement"),
    "policy": ("Policy", "Threshold"),
    "rules": ("Rules", "RulesError"),
    "slots": ("Slot", "SlotBuffer", "StepCounts", "StepKey", "slot_of"),
    "stalled": ("Observation", "Observed", "OpenExecution", "observations"),
    "state": ("SnapshotError", "State"),
}
_MODULES = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "Blindness",
    "Finding",
    "HealthStatus",
    "Judge",
    "Judgement",
    "Observation",
    "Observed",
    "OpenExecution",
    "Policy",
    "Rules",
    "RulesError",
    "Sight",
    "SightPolicy",
    "Slot",
    "SlotBuffer",
    "SnapshotError",
    "State",
    "StepCounts",
    "StepKey",
    "Threshold",
    "Verdict",
    "Watermark",
    "observations",
    "slot_of",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
