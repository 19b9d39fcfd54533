"""Health, the pure part: aggregates of closed slots in, verdicts with their evidence out. No clock, no I/O."""

from .judge import Judge, Judgement
from .policy import Policy, Threshold
from .rules import Rules, RulesError
from .slots import Slot, SlotBuffer, StepCounts, StepKey, slot_of
from .stalled import Observation, Observed, OpenExecution, observations
from .state import SnapshotError, State
from .status import HealthStatus
from .verdict import Finding, Verdict
from .watermark import Blindness, Sight, SightPolicy, Watermark

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
