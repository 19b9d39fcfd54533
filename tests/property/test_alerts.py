"""Random histories of alerts, targets that fail, crashes: what targets hear is always the whole story, in order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.engine import plan
from steptrail.consumers.alerts.model.levels import Level
from steptrail.consumers.alerts.model.notification import Notification, Told
from steptrail.consumers.alerts.model.policy import AlertPolicy, Grouping, Route, TargetPolicy
from steptrail.consumers.alerts.model.reconcile import difference
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.health.rules.status import HealthStatus
from support.effort import effort

GROUPING = Grouping(("pipeline",), wait=10, interval=60, repeat=1000)
POLICY = AlertPolicy(
    (Route("all", ("a", "b"), grouping=GROUPING),),
    {name: TargetPolicy(name, retry_after=100) for name in ("a", "b")},
    defaults=GROUPING,
)
STEPS = ("", "ocr", "index", "fetch")
SEVERITIES = (HealthStatus.WARNING, HealthStatus.CRITICAL, HealthStatus.UNKNOWN)

turns = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(STEPS), st.sampled_from(SEVERITIES)),  # what is wrong now
        st.floats(1, 200),  # seconds until the next turn
        st.sampled_from(("taken", "taken", "lost answer", "dead", "crash")),  # what becomes of what is sent
        st.booleans(),  # whether a silence holds
    ),
    max_size=25,
)


@dataclass
class World:
    """The records as the topics have them, and what each target has received."""

    published: dict[str, Alert] = field(default_factory=dict)
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    sending: dict[str, Notification] = field(default_factory=dict)
    received: list[tuple[str, float, Notification]] = field(default_factory=list)

    def turn(self, wrong: dict[str, HealthStatus], now: float, fate: str, silenced: bool) -> None:
        silences = [Silence("s", "*", "o*", "*", 0, 1e12, "", "")] if silenced else []
        for sent in list(
            self.sending.values()
        ):  # sent before a crash, and its end not recorded: the very same again
            self.end(sent, now, "taken" if fate == "crash" else fate)
        wanted = {
            level.id: level
            for step, severity in wrong.items()
            for level in [Level("inv", step, "errors", severity, "it fails", now)]
        }
        changes = difference(wanted, self.published, now=now, ownership=POLICY.ownership)
        self.published |= {alert.id: alert for alert in changes}
        assert difference(wanted, self.published, now=now + 1, ownership=POLICY.ownership) == []
        todo = plan(self.published, self.told, self.sending.values(), silences, POLICY, now)
        assert todo == plan(self.published, self.told, self.sending.values(), silences, POLICY, now)
        for one in todo.notifications:
            self.sending[one.id] = one
            self.end(one, now, fate)

    def end(self, sent: Notification, now: float, fate: str) -> None:
        if fate != "dead":
            self.received.append((sent.target, now, sent))
        if fate == "crash":
            return
        del self.sending[sent.id]
        self.told |= {(sent.target, each.alert): each for each in sent.told(now, sure=fate == "taken")}


@pytest.mark.thorough
@settings(max_examples=effort(60, 150), deadline=None)
@given(turns)
def test_every_target_hears_whole_stories_in_order(
    history: list[tuple[dict[str, HealthStatus], float, str, bool]],
) -> None:
    """After dropping repeats by id: firing and resolved of an episode, then of the next; at the end what is true."""
    world, now = World(), 1000.0
    for wrong, pause, fate, silenced in history:
        world.turn(wrong, now, fate, silenced)
        now += pause
    last = history[-1][0] if history else {}
    for _ in range(6):
        now += 100
        world.turn(last, now, "taken", False)
    for target in POLICY.targets:
        stories: dict[str, list[tuple[str, str]]] = {}
        for name, _, sent in world.received:
            for alert in sent.alerts if name == target else ():
                story = stories.setdefault(alert.id, [])
                if (alert.episode, alert.status) not in story:
                    story.append((alert.episode, alert.status))
        for story in stories.values():
            episodes = list(dict.fromkeys(episode for episode, _ in story))
            whole = [(episode, status) for episode in episodes for status in ("firing", "resolved")]
            # What was lost on the way to a dead target and ended meanwhile is told as its end alone.
            assert [each for each in whole if each in story] == story
            assert all((episode, "resolved") in story for episode in episodes[:-1])
        for alert in world.published.values():
            story = stories.get(alert.id, [])
            holding = last.get("", None)
            held = alert.step and holding is not None and holding.weight >= alert.severity.weight
            if alert.firing and not held:
                assert story[-1:] == [(alert.episode, "firing")]
            elif not alert.firing:
                assert story[-1:] in ([], [(story[-1][0] if story else "", "resolved")])


@pytest.mark.thorough
@settings(max_examples=effort(40, 100), deadline=None)
@given(turns)
def test_nobody_hears_the_same_again_before_it_is_time(
    history: list[tuple[dict[str, HealthStatus], float, str, bool]],
) -> None:
    """With targets that take everything, an episode's firing is repeated only after the interval or when heavier."""
    world, now = World(), 1000.0
    for wrong, pause, _, silenced in history:
        world.turn(wrong, now, "taken", silenced)
        now += pause
    heard: dict[tuple[str, str, str], tuple[float, HealthStatus]] = {}
    for target, at, sent in world.received:
        for alert in sent.alerts:
            before = heard.get((target, alert.episode, alert.status))
            if before is not None:
                assert alert.firing
                assert at - before[0] >= GROUPING.repeat or alert.severity.weight > before[1].weight
            heard[target, alert.episode, alert.status] = (at, alert.severity)


@pytest.mark.thorough
@settings(max_examples=effort(40, 100), deadline=None)
@given(
    st.dictionaries(st.sampled_from(STEPS), st.sampled_from(SEVERITIES)), st.floats(0, 1e9), st.floats(0, 1e9)
)
def test_records_survive_the_topic(wrong: dict[str, HealthStatus], since: float, now: float) -> None:
    """What is written is what is read, to the millisecond; and read again it is no difference."""
    wanted = {
        level.id: level
        for step, severity in wrong.items()
        for level in [Level("inv", step, "errors", severity, "it fails", since)]
    }
    alerts = difference(wanted, {}, now=round(now, 3), ownership=POLICY.ownership)
    read = {alert.id: Alert.from_bytes(alert.to_bytes()) for alert in alerts}
    assert difference(wanted, read, now=now, ownership=POLICY.ownership) == []
    for alert in alerts:
        again = read[alert.id]
        assert abs(again.since - alert.since) < 0.0011
        assert replace(again, since=0, fired_at=0) == replace(alert, since=0, fired_at=0)
