"""Events that are known to be missing make a pipeline's verdict worth less: WARNING, then UNKNOWN."""

from __future__ import annotations

import math
from dataclasses import dataclass

from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.formatting import percent
from steptrail.consumers.health.rules.policy import LossPolicy


@dataclass(frozen=True)
class Losses:
    """What one slot says of one pipeline: events that arrived, and events that are known not to have.

    `dropped`: dropped by, or failed at, an emitter, as it reports itself; `gaps`: numbers missing in emitters'
    sequences and not accounted for by those; `dead_letters`: arrived, but were no events.
    """

    arrived: int = 0
    dropped: int = 0
    gaps: int = 0
    dead_letters: int = 0


@dataclass
class LossWindow:
    """Losses of one pipeline, forgotten within minutes."""

    arrived: float = 0.0
    dropped: float = 0.0
    gaps: float = 0.0
    dead_letters: float = 0.0
    slot: int = 0

    def fold(self, slot: int, losses: Losses, policy: LossPolicy) -> None:
        """Add one closed slot; slots without anything may be left out."""
        fade = math.exp(-max(0, slot - self.slot) * SLOT_S / float(policy.window_s))
        for name in ("arrived", "dropped", "gaps", "dead_letters"):
            setattr(self, name, getattr(self, name) * fade + getattr(losses, name))
        self.slot = slot

    @property
    def lost(self) -> float:
        """All that is missing."""
        return self.dropped + self.gaps + self.dead_letters

    @property
    def share(self) -> float:
        """Of all events that should have arrived."""
        return self.lost / (self.arrived + self.lost) if self.lost else 0.0

    def status(self, policy: LossPolicy) -> str | None:
        """WARNING, UNKNOWN or nothing to say."""
        if self.lost < 0.5 * float(policy.warning_at):
            return None
        return "UNKNOWN" if self.share >= float(policy.unknown_share) else "WARNING"

    def sentence(self) -> str:
        """For people."""
        kinds = {
            "dropped by emitters": self.dropped,
            "missing in sequences": self.gaps,
            "dead letters": self.dead_letters,
        }
        told = [f"{round(count)} {kind}" for kind, count in kinds.items() if count >= 0.5]
        return f"events are lost: {', '.join(told)} ({percent(self.share)} of the recent ones)"
