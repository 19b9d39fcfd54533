import json
import zlib
from dataclasses import replace

import pytest

from steptrail.consumers.health.rules import (
    Blindness,
    HealthStatus,
    Judge,
    Observation,
    Observed,
    OpenExecution,
    Rules,
    Slot,
    SnapshotError,
    State,
    StepCounts,
    StepKey,
    Verdict,
)
from steptrail.consumers.health.rules.formatting import percent
from steptrail.consumers.health.rules.kinds.silence import SilenceRule
from steptrail.consumers.health.rules.slots import Losses, Measured
from steptrail.consumers.health.rules.verdict import unseen

FIRST = 340_000_000
OCR, PARSE = ("p", "ocr"), ("p", "parse")


class Feed:
    """Feeds a judge with slots one after the other and keeps what it says."""

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge, self.slot = judge or Judge(), FIRST
        self.said: list[Verdict] = []

    def __call__(self, slots: int = 1, losses: Losses | None = None, **steps: StepCounts) -> list[Verdict]:
        new: list[Verdict] = []
        for _ in range(slots):
            counts: dict[StepKey, StepCounts] = {("p", name): step for name, step in steps.items()}
            slot = Slot(self.slot, counts, {"p": losses} if losses else {})
            new += self.judge.fold(slot).verdicts
            self.slot += 1
        self.said += new
        return new


def counts(failed: int, succeeded: int) -> StepCounts:
    return StepCounts(started=failed + succeeded, succeeded=succeeded, failed=failed)


def names(verdicts: list[Verdict]) -> list[tuple[str | None, str | None, str]]:
    return [(v.pipeline, v.step, v.status.value) for v in verdicts]


def test_what_is_new_is_said_once() -> None:
    """The step, its pipeline, and everything; then nothing until something changes."""
    feed = Feed()
    assert names(feed(ocr=counts(0, 50))) == [
        ("p", "ocr", "HEALTHY"),
        ("p", None, "HEALTHY"),
        (None, None, "HEALTHY"),
    ]
    assert feed(100, ocr=counts(0, 50)) == []
    assert names(feed(2, parse=counts(0, 1))) == [("p", "parse", "HEALTHY")]


def test_an_outage_is_said_with_its_evidence_and_when_it_ends() -> None:
    """In one sentence, as data, for the step and all that it belongs to."""
    feed = Feed()
    feed(1000, ocr=counts(0, 50), parse=counts(0, 5))
    step, pipeline, overall = feed(4, ocr=counts(11, 41), parse=counts(0, 5))
    assert step.status is pipeline.status is overall.status is HealthStatus.WARNING
    assert step.sentence == (
        "33 of the last 156 executions (21 %) failed in 15 s; normal 0 %, threshold 10 %"
    ).replace("normal 0 %", f"normal {percent(step.findings[0].data['normal'])}")
    assert pipeline.sentence == f"ocr: {step.sentence}"
    assert overall.sentence == f"p: ocr: {step.sentence}"
    assert step.since == step.at == (FIRST + 1003) * 5
    assert (step.findings[0].data["failed"], step.findings[0].data["ended"]) == (33, 156)
    assert step.as_dict()["findings"][0]["status"] == "WARNING"
    back = feed(60, ocr=counts(0, 50))
    assert names(back) == [("p", "ocr", "HEALTHY"), ("p", None, "HEALTHY"), (None, None, "HEALTHY")]
    assert feed.judge.pipeline("p").since == back[1].since


def test_the_heaviest_speaks_for_the_whole() -> None:
    """A pipeline is as bad as its worst step, and names it first."""
    feed = Feed()
    feed(100, ocr=counts(0, 50), parse=counts(0, 50), idle=counts(0, 1))
    feed(10, ocr=counts(12, 40), parse=counts(50, 0))
    pipeline = feed.judge.pipeline("p")
    assert pipeline.status is HealthStatus.CRITICAL
    assert [finding.data["step"] for finding in pipeline.findings] == ["parse", "ocr"]
    assert feed.judge.step(("p", "idle")).status is HealthStatus.HEALTHY


def test_a_whole_names_ten_parts_and_counts_the_rest() -> None:
    """However many steps are bad."""
    feed = Feed()
    steps = {f"s{number}": counts(50, 0) for number in range(14)}
    feed(5, None, **steps)
    findings = feed.judge.pipeline("p").findings
    assert len(findings) == 11
    assert findings[-1].sentence == "and 4 more"


def test_a_silenced_rule_is_shown_and_does_not_count() -> None:
    """By the rules, and again when they change."""
    feed = Feed(Judge(Rules.parse('[[rule]]\nstep = "ocr"\nsilenced = ["errors"]')))
    feed(10, ocr=counts(50, 0))
    step = feed.judge.step(OCR)
    assert step.status is HealthStatus.HEALTHY
    assert (step.findings[0].silenced, step.findings[0].status) == (True, HealthStatus.CRITICAL)
    feed.judge.use(Rules())
    assert ("p", "ocr", "CRITICAL") in names(feed(1, ocr=counts(50, 0)))


def test_a_threshold_of_the_users_speaks() -> None:
    """For the steps that its rule matches; its window survives a change of other rules."""
    text = '[[rule]]\nstep = "ocr"\n[[rule.threshold]]\nmeasure = "pages"\nabove = 10\nstatus = "CRITICAL"\n'
    feed = Feed(Judge(Rules.parse(text)))
    many = StepCounts(succeeded=20, measured={("pages", 10.0, False): Measured(20, 5)})
    feed(2, ocr=many, parse=many)
    feed.judge.use(Rules.parse(text + "[[rule]]\nerrors.limit = 30"))
    assert feed.judge.step(OCR).status is HealthStatus.CRITICAL
    assert "had pages above 10" in feed.judge.step(OCR).sentence
    assert feed.judge.step(PARSE).status is HealthStatus.HEALTHY


def test_stalled_executions_are_a_warning_until_they_are_retracted() -> None:
    """For a day at most."""
    feed = Feed()
    feed(2, ocr=counts(0, 5))
    execution = OpenExecution(*OCR, "doc", b"e" * 16, FIRST * 5.0)
    feed.judge.observe([Observation(Observed.STALLED, execution, 600.0, (FIRST + 2) * 5.0)])
    assert names(feed())[0] == ("p", "ocr", "WARNING")
    assert feed.judge.step(OCR).sentence == "1 started execution has passed the deadline without an ending"
    feed.judge.observe([Observation(Observed.RETRACTED, execution, None, (FIRST + 3) * 5.0)])
    assert names(feed())[0] == ("p", "ocr", "HEALTHY")


def test_losses_make_a_pipeline_unknown_but_trouble_stays_trouble() -> None:
    """A healthy pipeline that loses much is UNKNOWN; one that fails, too, is said to fail."""
    feed = Feed()
    feed(50, ocr=counts(0, 50), losses=Losses(arrived=100))
    feed(1, ocr=counts(0, 50), losses=Losses(arrived=100, dropped=2000))
    assert feed.judge.pipeline("p").status is HealthStatus.UNKNOWN
    assert feed.judge.overall().status is HealthStatus.UNKNOWN
    feed(5, ocr=counts(50, 0))
    assert feed.judge.pipeline("p").status is HealthStatus.CRITICAL
    assert feed.judge.overall().sentence.startswith("p: ocr: ")


def test_blindness_hides_every_verdict() -> None:
    """Also a CRITICAL one: it says what it was."""
    feed = Feed()
    feed(10, ocr=counts(50, 0))
    verdict = feed.judge.step(OCR)
    hidden = unseen(verdict, Blindness(verdict.at + 70, None, verdict.at + 3), verdict.at + 80)
    assert hidden.status is HealthStatus.UNKNOWN
    assert hidden.sentence.startswith("the topic has been 80 s behind; before that: CRITICAL, ")
    assert unseen(verdict, None, verdict.at) is verdict


def test_slots_are_taken_in_order() -> None:
    """One that is skipped or given twice is refused."""
    judge = Judge()
    judge.fold(Slot(FIRST))
    for number in (FIRST, FIRST + 2):
        with pytest.raises(ValueError, match="is the next"):
            judge.fold(Slot(number))


def test_more_steps_than_can_be_watched_are_said() -> None:
    """Memory is bounded, and it is never HEALTHY to have looked away."""
    feed = Feed(Judge(max_steps=3))
    feed(1, None, **{f"doc-{number}": counts(0, 1) for number in range(5)})
    assert len(feed.judge.state.keys) == 3
    assert feed.judge.overall().status is HealthStatus.UNKNOWN
    assert "take what varies" in feed.judge.overall().sentence


def test_steps_not_seen_for_four_weeks_are_forgotten() -> None:
    """Their rows are free again; who keeps verdicts is told."""
    feed = Feed()
    feed(1, ocr=counts(0, 1), parse=counts(0, 1))
    silence = feed.judge.state.rule(SilenceRule).pauses
    silence.latest[feed.judge.state.index[OCR]] -= 28 * 17_280 + 720
    forgotten = [gone for _ in range(721) for gone in feed.judge.fold(_next(feed)).forgotten]
    assert forgotten == [OCR]
    assert list(feed.judge.state.index) == [PARSE]


def _next(feed: Feed) -> Slot:
    feed.slot += 1
    return Slot(feed.slot - 1, {PARSE: counts(0, 1)})


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x00" * 100])
def test_a_damaged_snapshot_is_refused(damage: bytes) -> None:
    """With what to do instead."""
    with pytest.raises(SnapshotError, match="damaged"):
        State.from_bytes(damage)
    snapshot = Judge().state.to_bytes()
    with pytest.raises(SnapshotError):
        State.from_bytes(snapshot[:-5])


def restated(feed: Feed, slots: int, **steps: StepCounts) -> list[tuple[int, Verdict]]:
    """What is restated in so many slots, each with how many slots after now."""
    found = []
    for number in range(1, slots + 1):
        slot = {("p", name): step for name, step in steps.items()}
        found += [(number, each) for each in feed.judge.fold(Slot(feed.slot, slot)).restated]
        feed.slot += 1
    return found


def test_evidence_is_restated_while_something_is_wrong() -> None:
    """After one, two and three minutes, then every five: with the counts as they are by then, and since as before."""
    feed = Feed()
    feed(60, ocr=counts(0, 50))
    feed(36, ocr=counts(40, 10))
    assert feed.judge.step(OCR).status is HealthStatus.CRITICAL
    since = feed.judge.step(OCR).since
    found = restated(feed, 24 * 12, ocr=counts(30, 20))
    steps = [(number, each) for number, each in found if each.step == "ocr"]
    assert all(each.at == (FIRST + 96 + number) * 5 for number, each in steps)
    minutes = [int(each.at - since) // 60 for _, each in steps]
    assert minutes == [n for n in (1, 2, 3, 5, 10, 15, 20, 25) if minutes[0] <= n <= minutes[-1]]
    assert len(minutes) >= 5
    assert {each.since for _, each in steps} == {since}
    assert steps[0][1].sentence != steps[-1][1].sentence
    assert "(60 %)" in steps[-1][1].sentence
    wholes = [each for _, each in found if each.step is None]
    assert [(each.pipeline, each.at) for each in wholes if each.pipeline] == [
        ("p", each.at) for _, each in steps
    ]
    assert f"ocr: {steps[-1][1].sentence}" in wholes[-1].sentence


def test_a_healthy_step_is_not_restated() -> None:
    """An hour of good news is no news."""
    feed = Feed()
    feed(10, ocr=counts(0, 50))
    assert restated(feed, 720, ocr=counts(0, 50)) == []


def test_more_stalled_executions_are_restated_within_two_minutes() -> None:
    """One, long ago, and ten more: the verdict says eleven, though nothing else about it changed."""
    feed = Feed()
    feed(100, ocr=counts(0, 5))
    feed.judge.observe([stalled(1, feed.slot)])
    assert ("p", "ocr", "WARNING") in names(feed(1, ocr=counts(0, 5)))
    restated(feed, 7 * 12 + 3, ocr=counts(0, 5))
    feed.judge.observe([stalled(n, feed.slot) for n in range(2, 12)])
    sentences = [each.sentence for _, each in restated(feed, 24, ocr=counts(0, 5)) if each.step == "ocr"]
    assert sentences[0].startswith("11 started executions have")


def stalled(number: int, slot: int) -> Observation:
    execution = OpenExecution(*OCR, f"d{number}", number.to_bytes(16, "big"), slot * 5.0 - 700)
    return Observation(Observed.STALLED, execution, 600.0, slot * 5.0)


def test_what_nobody_begins_is_said_apart_from_what_hangs() -> None:
    """Both in one finding, each with its count; taken back, each is one less."""
    feed = Feed()
    feed(10, ocr=counts(0, 5))
    waits = [
        Observation(
            Observed.STALLED,
            OpenExecution(*OCR, f"q{n}", bytes([n] * 16), 0.0, queued=True),
            600.0,
            feed.slot * 5.0,
        )
        for n in range(3)
    ]
    feed.judge.observe(waits)
    said = feed(1, ocr=counts(0, 5))
    assert ("p", "ocr", "WARNING") in names(said)
    sentence = "3 executions have been PENDING past the deadline, and nobody has begun them"
    assert said[0].sentence == sentence
    feed.judge.observe([stalled(9, feed.slot)])
    feed(1, ocr=counts(0, 5))
    assert feed.judge.step(OCR).sentence == (
        "1 started execution has passed the deadline without an ending; " + sentence
    )
    again = Judge(state=State.from_bytes(feed.judge.state.to_bytes()))
    assert again.step(OCR) == feed.judge.step(OCR)
    feed.judge.observe(replace(each, what=Observed.RETRACTED) for each in waits)
    assert feed.judge.step(OCR).sentence.startswith("1 started execution has passed")


def test_a_snapshot_of_the_version_before_is_read() -> None:
    """It has no column of what is queued; all else of it counts."""
    feed = Feed()
    feed(20, ocr=counts(0, 5))
    raw = zlib.decompress(feed.judge.state.to_bytes())
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    at = end
    kept, columns = [], b""
    for name, kind, size in header["columns"]:
        if name != "standing.stalls.queued":
            kept.append([name, kind, size])
            columns += raw[at : at + size]
        at += size
    head = json.dumps({**header, "columns": kept}).encode()
    old = State.from_bytes(zlib.compress(len(head).to_bytes(8, "little") + head + columns))
    assert Judge(state=old).step(OCR) == feed.judge.step(OCR)


def test_a_queue_has_a_deadline_only_where_one_is_declared() -> None:
    """And it is the step's own."""
    rules = Rules.parse('[[rule]]\nstep = "ocr"\nstalled.queued_s = 900\n')
    feed = Feed(Judge(rules))
    feed(1, ocr=counts(0, 5), parse=counts(0, 5))
    assert feed.judge.queue_deadlines() == {OCR: 900.0}
    assert Judge(rules).queue_deadlines() == {}


def test_a_step_that_is_only_queued_is_watched() -> None:
    """It has no sign of life, over full hours either: its deadline holds until somebody begins."""
    feed = Feed(Judge(Rules.parse('[[rule]]\nstep = "ocr"\nstalled.queued_s = 9000\n')))
    assert ("p", "ocr", "HEALTHY") in names(feed(1, ocr=StepCounts()))
    feed(3 * 720)
    assert feed.judge.queue_deadlines() == {OCR: 9000.0}
