"""What is said of a step, of a pipeline and of everything: a status, and the evidence as data and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.watermark import Blindness

SHOWN = 10
"""A whole names so many of its parts."""


@dataclass(frozen=True)
class Finding:
    """What one rule found. `since`: seconds since the epoch. One that is `silenced` is shown and does not count."""

    rule: str
    status: HealthStatus
    sentence: str
    since: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    silenced: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "status": self.status.value, "data": dict(self.data)}


@dataclass(frozen=True)
class Verdict:
    """How a step is (`pipeline` and `step`), a pipeline (`step` is None), or everything (both are None).

    `since`: when the status became so; `at`: the end of the slot up to which it holds; seconds since the epoch of
    the broker's clock. The findings are those that speak for the status first.
    """

    pipeline: str | None
    step: str | None
    status: HealthStatus
    since: float
    at: float
    findings: tuple[Finding, ...] = ()

    @property
    def sentence(self) -> str:
        """The heaviest finding in words."""
        return self.findings[0].sentence if self.findings else "nothing is wrong"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pipeline": self.pipeline,
            "step": self.step,
            "status": self.status.value,
            "since": self.since,
            "at": self.at,
            "sentence": self.sentence,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def heaviest(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """The status that stands for all of them; HEALTHY where there are none."""
    return max(statuses, key=lambda status: status.weight, default=HealthStatus.HEALTHY)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that count before silenced ones, heavy before light."""
    return tuple(sorted(findings, key=lambda finding: (finding.silenced, -finding.status.weight)))


def status_of(findings: Iterable[Finding]) -> HealthStatus:
    """The status that findings add up to."""
    return heaviest(finding.status for finding in findings if not finding.silenced)


def summed_up(parts: Sequence[tuple[str, Verdict]], more: int = 0) -> tuple[Finding, ...]:
    """The findings of a whole from the verdicts of those parts that are not healthy, by name, the worst first.

    `parts` are the first `SHOWN` of them; `more` says how many there are beside.
    """
    findings = [
        Finding(
            "parts",
            verdict.status,
            f"{name}: {verdict.sentence}",
            verdict.since,
            {"pipeline": verdict.pipeline, "step": verdict.step},
        )
        for name, verdict in parts
    ]
    if more and parts:
        findings.append(Finding("parts", parts[-1][1].status, f"and {more} more", None, {"more": more}))
    return tuple(findings)


def unseen(verdict: Verdict, blindness: Blindness | None, now: float) -> Verdict:
    """The verdict as it may be said at `now`: UNKNOWN, whatever it was, while there is blindness."""
    if blindness is None:
        return verdict
    behind = (
        "never been up to date" if blindness.watermark is None else f"been {now - verdict.at:.0f} s behind"
    )
    finding = Finding(
        "sight",
        HealthStatus.UNKNOWN,
        f"the topic has {behind}; before that: {verdict.status.value}, {verdict.sentence}",
        blindness.since,
        {"watermark": blindness.watermark, "seen_until": verdict.at, "was": verdict.status.value},
    )
    findings = (finding, *verdict.findings)
    return replace(verdict, status=HealthStatus.UNKNOWN, since=blindness.since, findings=findings)
