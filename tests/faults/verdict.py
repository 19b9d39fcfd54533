"""What the oracle counted: everything below `repeated` has to be zero or empty."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Verdict:
    """The oracle's counts."""

    issued: int = 0
    acknowledged: int = 0
    on_topic: int = 0
    rows: int = 0
    repeated: int = 0
    """Records by which a client that gave events up stored others again: each is a row, the event counts once."""
    lost: int = 0
    double: int = 0
    changed: int = 0
    unissued: int = 0
    twice_on_topic: int = 0
    states_wrong: int = 0
    bits_wrong: int = 0
    ledger_holes: int = 0
    committed_ahead: int = 0
    not_balanced: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.faults().values())

    def faults(self) -> dict[str, int]:
        """What has to be zero."""
        return {name: getattr(self, name) for name in _FAULTS}

    def add(self, other: Verdict) -> Verdict:
        """Both together."""
        for name in ("issued", "acknowledged", "on_topic", "rows", "repeated", *_FAULTS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.examples += other.examples
        return self

    def note(self, text: str) -> None:
        """Keep an example of what is wrong."""
        if len(self.examples) < 10:
            self.examples.append(text)


_FAULTS = (
    *("lost", "double", "changed", "unissued", "twice_on_topic", "states_wrong", "bits_wrong"),
    *("ledger_holes", "committed_ahead", "not_balanced"),
)
