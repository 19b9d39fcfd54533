"""The rule as a whole: closed slots in, changed verdicts out. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Ints
from steptrail.consumers.health.rules.evidence import (
    durations_finding,
    errors_finding,
    silence_finding,
    stalled_finding,
    stalled_level,
    threshold_findings,
)
from steptrail.consumers.health.rules.hours import HOUR_SLOTS
from steptrail.consumers.health.rules.losses import Losses, LossWindow
from steptrail.consumers.health.rules.policy import DAY_S, Policy, Threshold, stacked
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import Slot, StepKey
from steptrail.consumers.health.rules.stalled import Observation, Observed, deadlines
from steptrail.consumers.health.rules.state import State
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.thresholds import Measured, ThresholdWindow
from steptrail.consumers.health.rules.verdict import SHOWN, Finding, Verdict, ordered, status_of, summed_up

MAX_STEPS = 20_000
FORGOTTEN_AFTER_S = 28 * DAY_S

MINUTE_SLOTS = 60 // SLOT_S

_RULES = ("errors", "durations", "silence", "stalled", "thresholds")


@dataclass(frozen=True)
class Judgement:
    """What one slot changed: verdicts that are new or different, and steps that are not watched any more.

    `restated`: verdicts that say what they said before, with the evidence as it is now.
    """

    slot: int
    verdicts: tuple[Verdict, ...] = ()
    forgotten: tuple[StepKey, ...] = ()
    restated: tuple[Verdict, ...] = ()


class Judge:
    """Folds slots in order into `state` and says what changes.

    A verdict changes with its status, and with the rules that speak for it; not with every count. While one is not
    HEALTHY its evidence is restated now and then, once a minute at most (`_restated`). The same slots
    and observations give the same verdicts, whatever the pace, and whether or not the state went through a
    snapshot in between.
    """

    def __init__(
        self, rules: Rules | None = None, state: State | None = None, *, max_steps: int = MAX_STEPS
    ) -> None:
        self.state = state or State()
        self._max_steps = max_steps
        self.use(rules or Rules())

    def use(self, rules: Rules) -> None:
        """Go by these rules from the next slot on; what silence is learned to be, from the next full hour on."""
        self._rules = rules
        self._stack()
        self.state.thresholds = {
            key: windows for key in self.state.keys if (windows := self._windows(key, self._policy(key)))
        }

    def fold(self, slot: Slot) -> Judgement:
        """Judge the next slot. Raises ValueError for one that is not the next."""
        state = self.state
        if state.next_slot is not None and slot.number != state.next_slot:
            raise ValueError(
                f"slot {slot.number} was given, {state.next_slot} is the next: give each once, in order"
            )
        state.next_slot = slot.number + 1
        self._meet(slot.steps)
        block = Block.of(slot, state.index)
        if state.keys:
            state.errors.fold(slot.number, block.started, block.succeeded, block.failed, self._errors)
            state.durations.fold(slot.number, block.durations, self._durations)
            state.silence.fold(slot.number, block.events, self._silence)
        self._fold_thresholds(slot)
        for pipeline in state.losses.keys() | slot.losses.keys():
            window = state.losses.setdefault(pipeline, LossWindow(slot=slot.number))
            window.fold(
                slot.number, slot.losses.get(pipeline, Losses()), self._rules.policy(pipeline, "").losses
            )
        forgotten = self._forget(slot.number) if slot.number % HOUR_SLOTS == 0 else []
        changed = self._changed(slot.number)
        verdicts = [self.step(self.state.keys[row]) for row in changed]
        verdicts += self._wholes(bool(len(changed) or forgotten))
        restated = self._restated(slot.number, {(v.pipeline, v.step) for v in verdicts})
        return Judgement(slot.number, tuple(verdicts), tuple(forgotten), tuple(restated))

    def observe(self, said: Iterable[Observation]) -> None:
        """Take in what was found about stalled executions, each once; it is judged with the next slot."""
        said = list(said)
        self._meet((each.execution.pipeline, each.execution.step) for each in said)
        stalls = self.state.standing.stalls
        for each in said:
            row = self.state.index.get((each.execution.pipeline, each.execution.step))
            if row is None:
                continue
            if each.what is Observed.STALLED:
                stalls.count[row] += 1
                stalls.queued[row] += each.execution.queued
                stalls.latest[row] = max(int(stalls.latest[row]), int(each.watermark // SLOT_S) - 1)
            else:
                stalls.count[row] = max(0, int(stalls.count[row]) - 1)
                stalls.queued[row] = max(0, int(stalls.queued[row]) - each.execution.queued)

    def deadlines(self) -> dict[StepKey, float]:
        """Deadline in seconds of each step that has one: declared, or learned."""
        if not self.state.keys:
            return {}
        found = deadlines(self.state.durations.learned, self._stalled)
        return {
            key: float(value) for key, value in zip(self.state.keys, found, strict=True) if value == value
        }

    def queue_deadlines(self) -> dict[StepKey, float]:
        """How many seconds an execution of each step may wait to be begun, where that was declared."""
        declared = np.broadcast_to(self._stalled.queued_s, len(self.state.keys))
        return {
            key: float(value) for key, value in zip(self.state.keys, declared, strict=True) if value == value
        }

    def step(self, key: StepKey) -> Verdict:
        """How a step is. Raises KeyError for one that is not watched."""
        state, row = self.state, self.state.index[key]
        slot, policy = self._last_slot(), self._policy(key)
        single = (rule(state, row, slot, policy) for rule in (errors_finding, durations_finding))
        rare = (rule(state, row, slot, policy) for rule in (silence_finding, stalled_finding))
        found = [finding for finding in (*single, *rare) if finding is not None] + threshold_findings(
            state, row
        )
        findings = ordered(replace(f, silenced=True) if f.rule in policy.silenced else f for f in found)
        since = float(state.standing.said.since[row]) * SLOT_S
        return Verdict(*key, status_of(findings), since, float(slot + 1) * SLOT_S, findings)

    def pipeline(self, name: str) -> Verdict:
        """How a pipeline is: its worst steps, and what is known to be lost of it."""
        return self._pipeline(name, self._troubled().get(name, []))

    def overall(self) -> Verdict:
        """How everything is."""
        return self._overall(self._pipelines())

    def pipelines(self) -> list[str]:
        """Every pipeline that has steps or losses."""
        return sorted({pipeline for pipeline, _ in self.state.keys} | self.state.losses.keys())

    def verdicts(self) -> list[Verdict]:
        """All of them: of every step, of every pipeline, and of everything."""
        steps = [self.step(key) for key in self.state.keys]
        pipelines = self._pipelines()
        return [*steps, *pipelines, self._overall(pipelines)]

    # --- steps come and go ---------------------------------------------------------------------

    def _meet(self, keys: Iterable[StepKey]) -> None:
        new = [key for key in dict.fromkeys(keys) if key not in self.state.index]
        room = self._max_steps - len(self.state.keys)
        self.state.refused += max(0, len(new) - room)
        new = new[: max(0, room)]
        if new:
            self.state.add(new)
            for key in new:
                if windows := self._windows(key, self._policy(key)):
                    self.state.thresholds[key] = windows
            self._stack()

    def _forget(self, slot: int) -> list[StepKey]:
        self.state.losses = {name: w for name, w in self.state.losses.items() if w.arrived + w.lost >= 0.01}
        standing = self.state.standing
        latest = np.maximum(self.state.silence.pauses.latest, standing.stalls.latest)
        # What was only ever queued gave no sign of life: it counts from when it was first judged, 0 before that.
        since = np.where(standing.said.since > 0, standing.said.since, slot)
        latest = np.where(latest > 0, latest, since)
        old = np.flatnonzero((slot - latest) * SLOT_S > FORGOTTEN_AFTER_S)
        if not len(old):
            return []
        gone = self.state.forget(old)
        left = {pipeline for pipeline, _ in self.state.keys}
        for pipeline in {pipeline for pipeline, _ in gone} - left - self.state.losses.keys():
            self.state.said_of.pop(pipeline, None)
        self._stack()
        return gone

    def _policy(self, key: StepKey) -> Policy:
        return self._rules.policy(*key)

    def _stack(self) -> None:
        policies = [self._policy(key) for key in self.state.keys] or [Policy()]
        self._errors = stacked([policy.errors for policy in policies])
        self._durations = stacked([policy.durations for policy in policies])
        self._silence = stacked([policy.silence for policy in policies])
        self._stalled = stacked([policy.stalled for policy in policies])
        counting = [[rule not in policy.silenced for policy in policies] for rule in _RULES]
        self._counting = np.array(counting, np.int64)

    # --- thresholds ----------------------------------------------------------------------------

    def _windows(self, key: StepKey, policy: Policy) -> list[ThresholdWindow]:
        had = {window.threshold: window for window in self.state.thresholds.get(key, ())}
        return [had.get(threshold) or ThresholdWindow(threshold) for threshold in policy.thresholds]

    def _fold_thresholds(self, slot: Slot) -> None:
        for key, windows in self.state.thresholds.items():
            counts = slot.steps.get(key)
            for window in windows:
                measured = counts.measured.get(_bound(window.threshold)) if counts else None
                window.fold(slot.number, measured or Measured())

    # --- what is said --------------------------------------------------------------------------

    def _last_slot(self) -> int:
        return (self.state.next_slot or 1) - 1

    def _levels(self, slot: int) -> Ints:
        """Every rule's level for every step, one row a rule."""
        state = self.state
        levels = np.zeros((len(_RULES), len(state.keys)), np.int64)
        levels[0], levels[1] = state.errors.alarm.level, state.durations.alarm.level
        levels[2] = state.silence.silent() * (1 + (np.asarray(self._silence.critical) > 0))
        for row in np.flatnonzero(state.standing.stalls.count):
            levels[3, row] = stalled_level(state, int(row), slot, self._policy(state.keys[row]))
        for key, windows in state.thresholds.items():
            levels[4, state.index[key]] = max((window.level() for window in windows), default=0)
        return levels

    def _changed(self, slot: int) -> Ints:
        """The rows whose verdict changed; what is said of them is noted."""
        if not self.state.keys:
            return np.zeros(0, np.int64)
        said, levels = self.state.standing.said, self._levels(slot)
        packed = (levels << (2 * np.arange(len(_RULES)))[:, None]).sum(axis=0)
        status = (levels * self._counting).max(axis=0)
        changed = np.flatnonzero((packed != said.levels) | (status != said.status) | (said.since == 0))
        turned = changed[(status[changed] != said.status[changed]) | (said.since[changed] == 0)]
        said.since[turned] = slot + 1
        said.levels, said.status = packed, status
        return changed

    def _troubled(self) -> dict[str, list[int]]:
        """The rows of steps that are not healthy by pipeline, the worst first, then those that have been so longest."""
        said = self.state.standing.said
        rows = np.flatnonzero(said.status)
        troubled: dict[str, list[int]] = {}
        for row in rows[np.lexsort((rows, said.since[rows], -said.status[rows]))]:
            troubled.setdefault(self.state.keys[row][0], []).append(int(row))
        return troubled

    def _pipelines(self) -> list[Verdict]:
        troubled = self._troubled()
        return [self._pipeline(name, troubled.get(name, [])) for name in self.pipelines()]

    def _pipeline(self, name: str, rows: list[int]) -> Verdict:
        keys = [self.state.keys[row] for row in rows[:SHOWN]]
        findings = list(summed_up([(key[1], self.step(key)) for key in keys], len(rows) - len(keys)))
        policy, window = self._policy((name, "")), self.state.losses.get(name)
        if window is not None and (found := window.status(policy.losses)) is not None:
            data = {key: value for key, value in vars(window).items() if key != "slot"}
            silenced = "losses" in policy.silenced
            findings.append(Finding("losses", HealthStatus(found), window.sentence(), None, data, silenced))
        return self._whole(name, findings)

    def _overall(self, pipelines: list[Verdict]) -> Verdict:
        bad = [whole for whole in pipelines if whole.status is not HealthStatus.HEALTHY]
        bad.sort(key=lambda whole: (-whole.status.weight, whole.since, whole.pipeline))
        named = [(whole.pipeline or "", whole) for whole in bad[:SHOWN]]
        findings = list(summed_up(named, len(bad) - len(named)))
        if self.state.refused:
            what = (
                f"{self.state.refused} times a step was not watched: there are more than {self._max_steps} names of "
                "steps; take what varies (a document, a number) out of the names"
            )
            findings.append(
                Finding("steps", HealthStatus.UNKNOWN, what, None, {"refused": self.state.refused})
            )
        return self._whole(None, findings)

    def _whole(self, name: str | None, findings: list[Finding]) -> Verdict:
        ranked = ordered(findings)
        status, next_slot = status_of(ranked), self._last_slot() + 1
        said = self.state.said_of.get(name)
        since = said[2] if said is not None and said[0] == status.value else next_slot
        return Verdict(name, None, status, float(since) * SLOT_S, float(next_slot) * SLOT_S, ranked)

    def _wholes(self, changed: bool) -> list[Verdict]:
        """Verdicts of pipelines, and of everything, that are new or different."""
        losing = any(window.lost >= 0.5 for window in self.state.losses.values())
        lost = any("losses:" in spoke for _, spoke, _ in self.state.said_of.values())
        if not (changed or losing or lost) and self.state.said_of:
            return []
        wholes = self._pipelines()
        return [whole for whole in (*wholes, self._overall(wholes)) if self._is_news(whole)]

    def _restated(self, slot: int, told: Set[tuple[str | None, str | None]]) -> list[Verdict]:
        """At the end of a minute: verdicts that have not been healthy for a while, or more executions stalled.

        Nothing is remembered for it, so that whoever judges these slots says the same. `told` are those that are
        said by this slot as it is.
        """
        if (slot + 1) % MINUTE_SLOTS:
            return []
        said, stalls = self.state.standing.said, self.state.standing.stalls
        more = (stalls.count > 0) & (stalls.latest > slot - 2 * MINUTE_SLOTS)
        rows = np.flatnonzero((said.status > 0) & (_is_due(slot, said.since) | more))
        keys = [self.state.keys[row] for row in rows]
        wholes: set[str | None] = {pipeline for pipeline, _ in keys}
        wholes |= {
            name
            for name, (status, spoke, since) in self.state.said_of.items()
            if status != HealthStatus.HEALTHY.value and "losses:" in spoke and _is_due(slot, since)
        }
        if not wholes:
            return []
        pipelines = self._pipelines()
        found = [self.step(key) for key in keys]
        found += [whole for whole in pipelines if whole.pipeline in wholes]
        found.append(self._overall(pipelines))
        return [each for each in found if (each.pipeline, each.step) not in told]

    def _is_news(self, whole: Verdict) -> bool:
        """Whether it says something else than before; what it says is noted."""
        names = ((f, f.data.get("step") or f.data.get("pipeline") or "") for f in whole.findings)
        spoke = ";".join(f"{finding.rule}:{name}:{finding.status.value}" for finding, name in names)
        said = self.state.said_of.get(whole.pipeline)
        if said is not None and said[:2] == (whole.status.value, spoke):
            return False
        self.state.said_of[whole.pipeline] = (whole.status.value, spoke, int(whole.since) // SLOT_S)
        return True


def _is_due(slot: int, since: Any) -> Any:
    """Whether evidence is restated at the end of this minute: one, two and three minutes on, then every five."""
    minutes = (slot + 1 - since) // MINUTE_SLOTS
    return (minutes > 0) & ((minutes <= 3) | (minutes % 5 == 0))


def _bound(threshold: Threshold) -> tuple[str, float, bool]:
    return threshold.measure, threshold.bound, threshold.below
