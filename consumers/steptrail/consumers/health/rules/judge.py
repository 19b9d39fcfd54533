"""Computes changed verdicts from closed slots, in a loop over the registered rules. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Ints
from steptrail.consumers.health.rules.hours import HOUR_SLOTS
from steptrail.consumers.health.rules.kinds.durations import DurationRule
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy, StalledRule, deadlines
from steptrail.consumers.health.rules.overdue import Observation
from steptrail.consumers.health.rules.parameters import DAY_S, RulePolicy
from steptrail.consumers.health.rules.policy import Policy
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import SLOT_S, Slot, StepKey
from steptrail.consumers.health.rules.state import State
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import SHOWN, Finding, Verdict, ordered, status_of, summed_up

MAX_STEPS = 20_000
FORGOTTEN_AFTER_S = 28 * DAY_S

MINUTE_SLOTS = 60 // SLOT_S


@dataclass(frozen=True)
class Judgement:
    """The changes of one slot: new or different verdicts, and steps that are no longer watched.

    `restated`: unchanged verdicts with current evidence.
    """

    slot: int
    verdicts: tuple[Verdict, ...] = ()
    forgotten: tuple[StepKey, ...] = ()
    restated: tuple[Verdict, ...] = ()


class Judge:
    """Folds slots in order into `state` and returns the verdicts that change.

    A verdict changes with its status and with the level of any rule, not with every count. While it is not HEALTHY, its
    evidence is restated from time to time, at most once a minute (`_restated`). The same slots and observations give
    the same verdicts, at any pace, and with or without a snapshot of the state in between.
    """

    def __init__(
        self, rules: Rules | None = None, state: State | None = None, *, max_steps: int = MAX_STEPS
    ) -> None:
        self.state = state or State()
        self._max_steps = max_steps
        self.use(rules or Rules())

    def use(self, rules: Rules) -> None:
        """Use these rules from the next slot on; limits of silence change at the next full hour."""
        self._rules = rules
        self._configure()

    def fold(self, slot: Slot) -> Judgement:
        """Judge the next slot. Raises ValueError for any other slot."""
        state = self.state
        if state.next_slot is not None and slot.number != state.next_slot:
            raise ValueError(
                f"slot {slot.number} was given, {state.next_slot} is the next: give each once, in order"
            )
        state.next_slot = slot.number + 1
        self._meet(slot.steps)
        if state.keys:
            block = Block.of(slot, state.index)
            for name, rule in state.steps.items():
                rule.fold(block, self._stacked[name])
        for name, pipeline_rule in state.pipelines.items():
            pipeline_rule.fold(slot, partial(self._policy_of_pipeline, name))
        forgotten = self._forget(slot.number) if slot.number % HOUR_SLOTS == 0 else []
        changed = self._changed(slot.number)
        verdicts = [self.step(self.state.keys[row]) for row in changed]
        verdicts += self._wholes(bool(len(changed) or forgotten))
        restated = self._restated(slot.number, {(v.pipeline, v.step) for v in verdicts})
        return Judgement(slot.number, tuple(verdicts), tuple(forgotten), tuple(restated))

    def observe(self, observations: Iterable[Observation]) -> None:
        """Add observations of stalled executions, each once; the next slot judges them."""
        observations = list(observations)
        self._meet((each.execution.pipeline, each.execution.step) for each in observations)
        self.state.rule(StalledRule).observe(observations, self.state.index)

    def forget_stalled(self) -> None:
        """Drop all observations: the currently stalled executions are observed again."""
        self.state.rule(StalledRule).reset()

    def deadlines(self) -> dict[StepKey, float]:
        """The declared or learned deadline in seconds of each step that has one."""
        if not self.state.keys:
            return {}
        found = deadlines(self.state.rule(DurationRule).learned, self._stalled)
        return {
            key: float(value) for key, value in zip(self.state.keys, found, strict=True) if value == value
        }

    def queue_deadlines(self) -> dict[StepKey, float]:
        """The declared time in seconds that an execution may wait to start, for each step that has one."""
        found = np.broadcast_to(self._stalled.queued_s, len(self.state.keys))
        return {
            key: float(value) for key, value in zip(self.state.keys, found, strict=True) if value == value
        }

    def step(self, key: StepKey) -> Verdict:
        """A step's verdict. Raises KeyError for one that is not watched."""
        state, row = self.state, self.state.index[key]
        slot, policy = self._last_slot(), self._rules.policy(*key)
        found = (rule.findings(row, slot, policy.rules[name]) for name, rule in state.steps.items())
        findings = ordered(_silenced(each, policy) for several in found for each in several)
        since = float(state.published.since[row]) * SLOT_S
        return Verdict(*key, status_of(findings), since, float(slot + 1) * SLOT_S, findings)

    def pipeline(self, name: str) -> Verdict:
        """A pipeline's verdict: its worst steps, and the findings about the whole."""
        return self._pipeline(name, self._troubled().get(name, []))

    def overall(self) -> Verdict:
        """The overall verdict."""
        return self._overall(self._pipelines())

    def pipelines(self) -> list[str]:
        """Every pipeline with steps, or with state of its own."""
        return sorted(self._known({pipeline for pipeline, _ in self.state.keys}))

    def verdicts(self) -> list[Verdict]:
        """All verdicts: every step's, every pipeline's, and the overall one."""
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
            self._configure()

    def _forget(self, slot: int) -> list[StepKey]:
        state = self.state
        for pipeline_rule in state.pipelines.values():
            pipeline_rule.forget()
        latest = np.zeros(len(state.keys), np.int64)
        for rule in state.steps.values():
            latest = np.maximum(latest, rule.last_seen())
        # A step that was only ever queued gave no sign of life: it counts from when it was first judged, 0 before.
        since = np.where(state.published.since > 0, state.published.since, slot)
        latest = np.where(latest > 0, latest, since)
        old = np.flatnonzero((slot - latest) * SLOT_S > FORGOTTEN_AFTER_S)
        if not len(old):
            return []
        gone = state.forget(old)
        left = self._known({pipeline for pipeline, _ in state.keys})
        for pipeline in {pipeline for pipeline, _ in gone} - left:
            state.published_of.pop(pipeline, None)
        self._configure()
        return gone

    def _known(self, pipelines: set[str]) -> set[str]:
        """`pipelines`, and those for which pipeline rules have state."""
        return pipelines.union(*(rule.pipelines() for rule in self.state.pipelines.values()))

    def _policy_of_pipeline(self, rule: str, pipeline: str) -> RulePolicy:
        return self._rules.policy(pipeline, "").rules[rule]

    def _configure(self) -> None:
        """Give each rule the policies of its rows."""
        policies = [self._rules.policy(*key) for key in self.state.keys] or [Policy()]
        self._stacked = {
            name: rule.configure([policy.rules[name] for policy in policies])
            for name, rule in self.state.steps.items()
        }
        counting = [[name not in policy.silenced for policy in policies] for name in self.state.steps]
        self._counting = np.array(counting, np.int64)

    @property
    def _stalled(self) -> StalledPolicy:
        policy = self._stacked[StalledPolicy.rule]
        assert isinstance(policy, StalledPolicy)
        return policy

    # --- verdicts ------------------------------------------------------------------------------

    def _last_slot(self) -> int:
        return (self.state.next_slot or 1) - 1

    def _changed(self, slot: int) -> Ints:
        """The rows whose verdict changed; records the new verdicts."""
        state, published = self.state, self.state.published
        if not state.keys:
            return np.zeros(0, np.int64)
        levels = np.stack([rule.levels(slot, self._stacked[name]) for name, rule in state.steps.items()])
        packed = (levels << (2 * np.arange(len(levels)))[:, None]).sum(axis=0)
        status = (levels * self._counting).max(axis=0)
        new = published.since == 0
        changed = np.flatnonzero((packed != published.levels) | (status != published.status) | new)
        turned = changed[(status[changed] != published.status[changed]) | new[changed]]
        published.since[turned] = slot + 1
        published.levels, published.status = packed, status
        return changed

    def _troubled(self) -> dict[str, list[int]]:
        """Rows of unhealthy steps by pipeline, the worst first, then the longest unhealthy."""
        status, since = self.state.published.status, self.state.published.since
        rows = np.flatnonzero(status)
        troubled: dict[str, list[int]] = {}
        for row in rows[np.lexsort((rows, since[rows], -status[rows]))]:
            troubled.setdefault(self.state.keys[row][0], []).append(int(row))
        return troubled

    def _pipelines(self) -> list[Verdict]:
        troubled = self._troubled()
        return [self._pipeline(name, troubled.get(name, [])) for name in self.pipelines()]

    def _pipeline(self, name: str, rows: list[int]) -> Verdict:
        keys = [self.state.keys[row] for row in rows[:SHOWN]]
        findings = list(summed_up([(key[1], self.step(key)) for key in keys], len(rows) - len(keys)))
        policy = self._rules.policy(name, "")
        for rule_name, rule in self.state.pipelines.items():
            if (found := rule.finding(name, policy.rules[rule_name])) is not None:
                findings.append(_silenced(found, policy))
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
        before = self.state.published_of.get(name)
        since = before[2] if before is not None and before[0] == status.value else next_slot
        return Verdict(name, None, status, float(since) * SLOT_S, float(next_slot) * SLOT_S, ranked)

    def _wholes(self, changed: bool) -> list[Verdict]:
        """New or different verdicts of pipelines, and the overall one."""
        state = self.state
        active = any(rule.active() for rule in state.pipelines.values())
        before = any(self._of_pipelines(findings) for _, findings, _ in state.published_of.values())
        if not (changed or active or before) and state.published_of:
            return []
        wholes = self._pipelines()
        return [whole for whole in (*wholes, self._overall(wholes)) if self._is_new(whole)]

    def _of_pipelines(self, findings: str) -> bool:
        """Whether one of these findings is a pipeline rule's."""
        return any(f"{name}:" in findings for name in self.state.pipelines)

    def _restated(self, slot: int, changed: Set[tuple[str | None, str | None]]) -> list[Verdict]:
        """At the end of a minute: verdicts that have been unhealthy for a while, or have more evidence.

        It is stateless, so that any member that judges these slots restates the same verdicts. `changed` are those that
        this slot changed anyway.
        """
        if (slot + 1) % MINUTE_SLOTS:
            return []
        published = self.state.published
        more = np.zeros(len(self.state.keys), np.bool_)
        for rule in self.state.steps.values():
            more |= rule.grew(slot - 2 * MINUTE_SLOTS)
        rows = np.flatnonzero((published.status > 0) & (_is_due(slot, published.since) | more))
        keys = [self.state.keys[row] for row in rows]
        wholes: set[str | None] = {pipeline for pipeline, _ in keys}
        wholes |= {
            name
            for name, (status, findings, since) in self.state.published_of.items()
            if status != HealthStatus.HEALTHY.value and self._of_pipelines(findings) and _is_due(slot, since)
        }
        if not wholes:
            return []
        pipelines = self._pipelines()
        found = [self.step(key) for key in keys]
        found += [whole for whole in pipelines if whole.pipeline in wholes]
        found.append(self._overall(pipelines))
        return [each for each in found if (each.pipeline, each.step) not in changed]

    def _is_new(self, whole: Verdict) -> bool:
        """Whether its status or findings differ from before; records them."""
        names = ((f, f.data.get("step") or f.data.get("pipeline") or "") for f in whole.findings)
        findings = ";".join(f"{finding.rule}:{name}:{finding.status.value}" for finding, name in names)
        before = self.state.published_of.get(whole.pipeline)
        if before is not None and before[:2] == (whole.status.value, findings):
            return False
        self.state.published_of[whole.pipeline] = (whole.status.value, findings, int(whole.since) // SLOT_S)
        return True


def _silenced(finding: Finding, policy: Policy) -> Finding:
    return replace(finding, silenced=True) if finding.rule in policy.silenced else finding


def _is_due(slot: int, since: Any) -> Any:
    """Whether evidence is restated at the end of this minute: after one, two and three minutes, then every five."""
    minutes = (slot + 1 - since) // MINUTE_SLOTS
    return (minutes > 0) & ((minutes <= 3) | (minutes % 5 == 0))
