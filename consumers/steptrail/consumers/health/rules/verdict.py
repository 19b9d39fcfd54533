"""Verdicts about steps, pipelines and everything: a status, and the evidence as data and in words."""

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
    """What one rule found. `since`: seconds since the epoch. A `silenced` finding is shown but does not count."""

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
    """The verdict about a step (`pipeline` and `step`), a pipeline (`step` is None), or everything (both are None).

    `since`: when the status began; `at`: the end of the slot up to which it holds; both in seconds since the epoch by
    the broker's clock. Findings that determine the status come first.
    """

    pipeline: str | None
    step: str | None
    status: HealthStatus
    since: float
    at: float
    findings: tuple[Finding, ...] = ()

    @property
    def sentence(self) -> str:
        """The most severe finding in words."""
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
    """The most severe status; HEALTHY if there are none."""
    return max(statuses, key=lambda status: status.weight, default=HealthStatus.HEALTHY)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order counting findings before silenced ones, the most severe first."""
    return tuple(sorted(findings, key=lambda finding: (finding.silenced, -finding.status.weight)))


def status_of(findings: Iterable[Finding]) -> HealthStatus:
    """The status that follows from findings."""
    return heaviest(finding.status for finding in findings if not finding.silenced)


def summed_up(parts: Sequence[tuple[str, Verdict]], more: int = 0) -> tuple[Finding, ...]:
    """The findings of a whole from the verdicts of its unhealthy parts, by name, the worst first.

    `parts` are the first `SHOWN` of them; `more` is the number of further ones.
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
    """The verdict to publish at `now`: UNKNOWN, whatever it was, during blindness."""
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
