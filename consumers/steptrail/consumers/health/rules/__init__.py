"""The pure part of health: turns aggregates of closed slots into verdicts with evidence. No clock, no I/O.

Readers of verdicts need only `HealthStatus`, `Finding` and `Verdict`; judging needs numpy, which is imported with the
first name that uses it. `rule` defines what a rule is; `kinds` contains the rules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict
from steptrail.consumers.health.rules.watermark import Blindness, Sight, SightPolicy, Watermark

if TYPE_CHECKING:
    from steptrail.consumers.health.rules.judge import Judge, Judgement
    from steptrail.consumers.health.rules.overdue import Observation, Observed, OpenExecution, observations
    from steptrail.consumers.health.rules.policy import Policy
    from steptrail.consumers.health.rules.rules import Rules, RulesError
    from steptrail.consumers.health.rules.slots import Losses, Measured, Slot, StepCounts, StepKey, slot_of
    from steptrail.consumers.health.rules.state import SnapshotError, State

_LAZY = {
    "judge": ("Judge", "Judgement"),
    "overdue": ("Observation", "Observed", "OpenExecution", "observations"),
    "policy": ("Policy",),
    "rules": ("Rules", "RulesError"),
    "slots": ("Losses", "Measured", "Slot", "StepCounts", "StepKey", "slot_of"),
    "state": ("SnapshotError", "State"),
}
_MODULES = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "Blindness",
    "Finding",
    "HealthStatus",
    "Judge",
    "Judgement",
    "Losses",
    "Measured",
    "Observation",
    "Observed",
    "OpenExecution",
    "Policy",
    "Rules",
    "RulesError",
    "Sight",
    "SightPolicy",
    "Slot",
    "SnapshotError",
    "State",
    "StepCounts",
    "StepKey",
    "Verdict",
    "Watermark",
    "observations",
    "slot_of",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
