"""Rule `losses`: events known to be missing make a pipeline's verdict WARNING, then UNKNOWN."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from steptrail.consumers.health.rules.columns import Number
from steptrail.consumers.health.rules.formatting import percent
from steptrail.consumers.health.rules.parameters import DAY_S, RulePolicy, number
from steptrail.consumers.health.rules.rule import PipelineRule
from steptrail.consumers.health.rules.slots import SLOT_S, Losses, Slot, StepKey
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding


@dataclass(frozen=True)
class LossPolicy(RulePolicy):
    """Events known to be missing: dropped or failed at emitters, gaps in sequences, dead letters."""

    rule: ClassVar[str] = "losses"

    warning_at: Number = number(1, 1, 1e12, "lost events in the window that are WARNING")
    unknown_share: Number = number(0.05, 0.0001, 1, "share of lost events from which on nothing is known")
    window_s: Number = number(600, 5, DAY_S, "time constant in which losses are forgotten")


@dataclass
class LossWindow:
    """Losses of one pipeline, decaying within minutes."""

    arrived: float = 0.0
    dropped: float = 0.0
    gaps: float = 0.0
    dead_letters: float = 0.0
    slot: int = 0

    def fold(self, slot: int, losses: Losses, policy: LossPolicy) -> None:
        """Add one closed slot; empty slots may be omitted."""
        fade = math.exp(-max(0, slot - self.slot) * SLOT_S / float(policy.window_s))
        for name in ("arrived", "dropped", "gaps", "dead_letters"):
            setattr(self, name, getattr(self, name) * fade + getattr(losses, name))
        self.slot = slot

    @property
    def lost(self) -> float:
        """The number of missing events."""
        return self.dropped + self.gaps + self.dead_letters

    @property
    def share(self) -> float:
        """The share of missing events among all that should have arrived."""
        return self.lost / (self.arrived + self.lost) if self.lost else 0.0

    def status(self, policy: LossPolicy) -> HealthStatus | None:
        """WARNING or UNKNOWN; None if too little is lost."""
        if self.lost < 0.5 * float(policy.warning_at):
            return None
        unknown = self.share >= float(policy.unknown_share)
        return HealthStatus.UNKNOWN if unknown else HealthStatus.WARNING

    def sentence(self) -> str:
        """For people."""
        kinds = {
            "dropped by emitters": self.dropped,
            "missing in sequences": self.gaps,
            "dead letters": self.dead_letters,
        }
        told = [f"{round(count)} {kind}" for kind, count in kinds.items() if count >= 0.5]
        return f"events are lost: {', '.join(told)} ({percent(self.share)} of the recent ones)"


@dataclass
class LossRule(PipelineRule[LossPolicy]):
    """One window per pipeline with events or losses."""

    policy = LossPolicy

    windows: dict[str, LossWindow] = field(default_factory=dict)

    def fold(self, slot: Slot, policy_of: Callable[[str], LossPolicy]) -> None:
        """Add one closed slot."""
        for pipeline in self.windows.keys() | slot.losses.keys():
            window = self.windows.setdefault(pipeline, LossWindow(slot=slot.number))
            window.fold(slot.number, slot.losses.get(pipeline, Losses()), policy_of(pipeline))

    def pipelines(self) -> Collection[str]:
        """The pipelines that have a window."""
        return self.windows.keys()

    def active(self) -> bool:
        """Whether any window has losses."""
        return any(window.lost >= 0.5 for window in self.windows.values())

    def forget(self) -> None:
        """Drop windows that have decayed to almost nothing."""
        self.windows = {name: w for name, w in self.windows.items() if w.arrived + w.lost >= 0.01}

    def finding(self, pipeline: str, policy: LossPolicy) -> Finding | None:
        """The pipeline's losses; None if too little is lost."""
        window = self.windows.get(pipeline)
        status = None if window is None else window.status(policy)
        if window is None or status is None:
            return None
        data = {key: value for key, value in vars(window).items() if key != "slot"}
        return Finding(policy.rule, status, window.sentence(), None, data)

    def stored(self, keys: Sequence[StepKey]) -> Any:
        """Each pipeline's window."""
        return {pipeline: vars(window) for pipeline, window in self.windows.items()}

    def restore(self, stored: Any, index: Mapping[StepKey, int]) -> None:
        """Restore the state from `stored`."""
        self.windows = {pipeline: LossWindow(**window) for pipeline, window in stored.items()}


RULE = LossRule
