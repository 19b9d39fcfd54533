"""Health, the pure part: aggregates of closed slots in, verdicts with their evidence out. No clock, no I/O.

Who only reads verdicts needs nothing but `HealthStatus`, `Finding` and `Verdict`; the rule itself needs numpy, which
is loaded with the first name of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .status import HealthStatus
from .verdict import Finding, Verdict
from .watermark import Blindness, Sight, SightPolicy, Watermark

if TYPE_CHECKING:
    from .judge import Judge, Judgement
    from .policy import Policy, Threshold
    from .rules import Rules, RulesError
    from .slots import Slot, SlotBuffer, StepCounts, StepKey, slot_of
    from .stalled import Observation, Observed, OpenExecution, observations
    from .state import SnapshotError, State

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
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
