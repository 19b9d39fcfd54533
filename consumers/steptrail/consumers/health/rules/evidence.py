"""What each rule found about one step, as data and in one sentence."""

from __future__ import annotations

from steptrail.consumers.health.rules.alarm import NONE, Alarm
from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.formatting import milliseconds, percent, span
from steptrail.consumers.health.rules.policy import Policy
from steptrail.consumers.health.rules.state import State
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding
from steptrail.schemas.figures import counted


def _recent(alarm: Alarm, row: int, slot: int) -> tuple[int, int, int]:
    """Bad, ended, and over how many seconds, of what is shown as recent at the end of `slot`."""
    bad, ended = alarm.recent_bad[row].sum(), alarm.recent_ended[row].sum()
    return round(bad), round(ended), int(slot + 1 - alarm.recent_since[row, 0]) * SLOT_S


def _since(alarm: Alarm, row: int) -> float | None:
    return float(alarm.since[row]) * SLOT_S if alarm.level[row] != NONE else None


def errors_finding(state: State, row: int, slot: int, policy: Policy) -> Finding | None:
    """Of the error-ratio rule; None where nothing has ended yet."""
    rule, limits = state.errors, policy.errors
    failed, ended, seconds = _recent(rule.alarm, row, slot)
    if not ended:
        return None
    normal = rule.normal_of(row, limits)
    return Finding(
        "errors",
        HealthStatus.of_level(int(rule.alarm.level[row])),
        f"{failed} of the last {counted(ended, 'execution')} ({percent(failed / ended)}) failed in {span(seconds)}; "
        f"normal {percent(normal)}, threshold {percent(float(limits.least_share))}",
        _since(rule.alarm, row),
        {
            "failed": failed,
            "ended": ended,
            "share": failed / ended,
            "seconds": seconds,
            "normal": normal,
            "threshold": float(limits.least_share),
            "pinned": limits.normal == limits.normal,
            "score": float(rule.cusum.score[row]),
            "limit": float(limits.limit),
        },
    )


def durations_finding(state: State, row: int, slot: int, policy: Policy) -> Finding | None:
    """Of the duration rule; None while there is no normal to compare with."""
    rule, limits = state.durations, policy.durations
    slow, ended, seconds = _recent(rule.alarm, row, slot)
    normal_ms = rule.normal_ms_of(row, slot, limits)
    if not ended or normal_ms is None:
        return None
    return Finding(
        "durations",
        HealthStatus.of_level(int(rule.alarm.level[row])),
        f"{slow} of the last {counted(ended, 'execution')} ({percent(slow / ended)}) took longer than "
        f"{milliseconds(normal_ms)} in {span(seconds)}; normal 5 %, threshold {percent(float(limits.least_share))}",
        _since(rule.alarm, row),
        {
            "slow": slow,
            "ended": ended,
            "share": slow / ended,
            "seconds": seconds,
            "normal_p95_ms": normal_ms,
            "threshold": float(limits.least_share),
            "pinned": limits.normal_ms == limits.normal_ms,
            "score": float(rule.cusum.score[row]),
            "limit": float(limits.limit),
        },
    )


def silence_finding(state: State, row: int, slot: int, policy: Policy) -> Finding | None:
    """Of the silence rule; None while the step is not silent."""
    pauses = state.silence.pauses
    if not pauses.silent[row]:
        return None
    quiet_s, limit_s = int(slot - pauses.latest[row]) * SLOT_S, int(pauses.passed[row]) * SLOT_S
    return Finding(
        "silence",
        HealthStatus.CRITICAL if policy.silence.critical else HealthStatus.WARNING,
        f"nothing began or ended for {span(quiet_s)}; {span(limit_s)} is too long at that hour of the week",
        float(pauses.silent[row]) * SLOT_S,
        {"quiet_s": quiet_s, "limit_s": limit_s, "latest": int(pauses.latest[row] + 1) * SLOT_S},
    )


def stalled_finding(state: State, row: int, slot: int, policy: Policy) -> Finding | None:
    """Of executions that stalled; None where there are none, or none of late."""
    level = stalled_level(state, row, slot, policy)
    if level == NONE:
        return None
    stalls = state.standing.stalls
    count = int(stalls.count[row])
    latest = float(stalls.latest[row] + 1) * SLOT_S
    queued = int(stalls.queued[row])
    told = []
    if count > queued:
        told.append(f"{_executions(count - queued, 'started ')} passed the deadline without an ending")
    if queued:
        told.append(
            f"{_executions(queued)} been PENDING past the deadline, and nobody has begun {_it(queued)}"
        )
    return Finding(
        "stalled",
        HealthStatus.of_level(level),
        "; ".join(told),
        latest,
        {"count": count, "queued": queued, "latest": latest},
    )


def _it(count: int) -> str:
    return "it" if count == 1 else "them"


def _executions(count: int, kind: str = "") -> str:
    return f"{count} {kind}execution{' has' if count == 1 else 's have'}"


def stalled_level(state: State, row: int, slot: int, policy: Policy) -> int:
    """0, 1 or 2, as the other rules' levels."""
    stalls, limits = state.standing.stalls, policy.stalled
    count = int(stalls.count[row])
    if not count or (slot - int(stalls.latest[row])) * SLOT_S > float(limits.counts_for_s):
        return 0
    return 2 if 0 < float(limits.critical_at) <= count else 1


def threshold_findings(state: State, row: int) -> list[Finding]:
    """One for each threshold that is passed."""
    return [
        Finding(
            "thresholds",
            HealthStatus.of_level(window.level()),
            window.sentence(),
            None,
            {**vars(window.threshold), "count": window.seen().count, "seen_beyond": window.seen().beyond},
        )
        for window in state.thresholds.get(state.keys[row], ())
        if window.level()
    ]
