"""Who is told what and when: tables of cases against the pure engine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from steptrail.consumers.alerts.model.alert import Alert, alert_id
from steptrail.consumers.alerts.model.engine import MAX_ALERTS, MAX_ON_THEIR_WAY, held_back, plan
from steptrail.consumers.alerts.model.notification import Notification, Told
from steptrail.consumers.alerts.model.policy import (
    AlertPolicy,
    Grouping,
    Inhibition,
    Owner,
    Route,
    TargetPolicy,
)
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.health.rules.status import HealthStatus

GROUPING = Grouping(("pipeline",), wait=10, interval=60, repeat=3600)
POLICY = AlertPolicy(
    (Route("all", ("ops",), grouping=GROUPING),), {"ops": TargetPolicy("ops")}, defaults=GROUPING
)


def alert(step: str = "ocr", *, at: float = 0.0, severity: str = "WARNING", **more: Any) -> Alert:
    fields = {"pipeline": "inv", "kind": "errors", **more}
    one = alert_id(fields["pipeline"], step, fields["kind"])
    return Alert(
        id=one,
        step=step,
        severity=HealthStatus(severity),
        sentence="it fails",
        since=at,
        fired_at=at,
        **{"episode": f"{one}-1", **fields},
    )


def told(of: Alert, at: float, target: str = "ops", **more: Any) -> Told:
    known = Told(target, of.id, of.episode, of.status, of.severity, of.since, at)
    return replace(known, **more)


def asked(
    alerts: list[Alert],
    knows: list[Told] = (),  # type: ignore[assignment]
    *,
    now: float,
    policy: AlertPolicy = POLICY,
    silences: tuple[Silence, ...] = (),
    on_their_way: tuple[Notification, ...] = (),
) -> tuple[list[tuple[str, list[tuple[str, str]]]], float]:
    """By notification: the target, and step and status of each alert; and when to ask again."""
    found = plan(
        {each.id: each for each in alerts},
        {(each.target, each.alert): each for each in knows},
        on_their_way,
        silences,
        policy,
        now,
    )
    return [(n.target, [(a.step, a.status) for a in n.alerts]) for n in found.notifications], found.again_at


OCR, INDEX = alert("ocr"), alert("index", at=5.0)
FIRE_OCR = ("ops", [("ocr", "firing")])
END_OCR = ("ops", [("ocr", "resolved")])


@pytest.mark.parametrize(
    ("what", "alerts", "knows", "now", "expected", "again_at"),
    [
        ("the group waits for company", [OCR], [], 4, [], 10),
        ("then tells what came", [OCR, INDEX], [], 10, [("ops", [("ocr", "firing"), ("index", "firing")])], math.inf),
        ("what was told is not told again", [OCR], [told(OCR, 10)], 3600, [], 3610),
        ("until it is time to repeat", [OCR], [told(OCR, 10)], 3610, [FIRE_OCR], math.inf),
        ("news of a group waits for its interval", [OCR, INDEX], [told(OCR, 10)], 30, [], 70),
        ("and is told alone", [OCR, INDEX], [told(OCR, 10)], 70, [("ops", [("index", "firing")])], math.inf),
        ("the end is told after the interval", [OCR.resolved(20)], [told(OCR, 10)], 70, [END_OCR], math.inf),
        ("once", [OCR.resolved(20)], [told(OCR.resolved(20), 70)], 9999, [], math.inf),
        ("what ended before it was told is not told", [OCR.resolved(8)], [], 9999, [], math.inf),
        ("a heavier severity is news", [alert(severity="CRITICAL")], [told(OCR, 10)], 70, [FIRE_OCR], math.inf),
        ("a lighter one is not", [OCR], [told(OCR, 10, severity=HealthStatus.CRITICAL)], 70, [], 3610),
        ("unsure: tried again, later", [OCR], [told(OCR, 10, sure=False)], 300, [], 310),
        ("and then", [OCR], [told(OCR, 10, sure=False)], 310, [FIRE_OCR], math.inf),
        ("unsure and ended: ended", [OCR.resolved(99)], [told(OCR, 10, sure=False)], 310, [END_OCR], math.inf),
        (
            "back before its end was told: the end first",
            [alert(at=100.0, episode="second")],
            [told(OCR, 10)],
            110,
            [END_OCR],
            math.inf,
        ),
        (
            "then the new one, at once",
            [alert(at=100.0, episode="second")],
            [told(OCR.resolved(100), 111)],
            111,
            [FIRE_OCR],
            math.inf,
        ),
        (
            "back and gone again: the first end only",
            [alert(at=100.0, episode="second").resolved(105)],
            [told(OCR, 10)],
            110,
            [END_OCR],
            math.inf,
        ),
    ],
)  # fmt: skip
def test_timing(
    what: str,
    alerts: list[Alert],
    knows: list[Told],
    now: float,
    expected: list[Any],
    again_at: float,
) -> None:
    """Waiting, grouping, repeating and ending, each as its name says."""
    assert asked(alerts, knows, now=now) == (expected, again_at), what


def test_an_alert_on_its_way_is_not_told_of_in_another_message() -> None:
    """One message at a time tells of an alert to a target, so that its story arrives in order."""
    way = Notification("msg_1", "ops", "all: pipeline=inv", (OCR,), 10)
    assert asked([OCR.resolved(11)], now=1000, on_their_way=(way,)) == ([], math.inf)


def test_many_alerts_are_told_in_several_messages_and_no_more_than_a_target_can_take() -> None:
    """A hundred in a message, fifty messages on their way; the rest is computed anew when there is room."""
    many = [alert(f"step{n}") for n in range(MAX_ALERTS * (MAX_ON_THEIR_WAY + 3))]
    found, _ = asked(many, now=10)
    assert len(found) == MAX_ON_THEIR_WAY
    assert {len(said) for _, said in found} == {MAX_ALERTS}


def test_routes_are_asked_in_order_and_the_first_that_matches_is_the_last() -> None:
    """Unless it goes on; severity, owner, kind, pipeline and step decide; a target hears of an alert once."""
    routes = (
        Route("loud", ("pager",), severities=("CRITICAL",), goes_on=True),
        Route("docs", ("docs",), owners=("team-docs",)),
        Route("slow", ("log",), kinds=("durations", "silence")),
        Route("rest", ("log", "pager"), steps=("o*", "f*")),
    )
    targets = {name: TargetPolicy(name) for name in ("pager", "docs", "log")}
    policy = AlertPolicy(
        routes, targets, (Owner("inv*", "*", "", {"tier": "1"}), Owner("*", "ocr", "team-docs"))
    )

    def leads(one: Alert) -> list[str]:
        owner, labels = policy.ownership(one.pipeline, one.step)
        return list(policy.routes_of(replace(one, owner=owner, labels=labels)))

    assert leads(alert("ocr", severity="CRITICAL")) == ["pager", "docs"]
    assert leads(alert("ocr")) == ["docs"]
    assert leads(alert("fetch")) == ["log", "pager"]
    assert leads(alert("index")) == []
    assert leads(alert("index", kind="silence")) == ["log"]
    assert policy.ownership("inv2", "x") == ("", {"tier": "1"})


def test_error_groups_alert_only_where_a_route_names_them() -> None:
    """A route for every kind, or `*`, does not ask for them; `error_*` does."""
    group = alert("ocr", kind="error_group")
    assert not Route("r", ("ops",)).matches(group)
    assert not Route("r", ("ops",), kinds=("*",)).matches(group)
    assert Route("r", ("ops",), kinds=("error_*",)).matches(group)
    assert AlertPolicy((Route("r", (), kinds=("error_group",)),)).asks_for_groups


def test_a_dead_target_is_told_to_all_others_whatever_the_routes_say() -> None:
    """And never to itself; nor does it hold anything back."""
    dead = alert("", pipeline="", kind="target", severity="CRITICAL", labels={"target": "ops"})
    policy = AlertPolicy((), {name: TargetPolicy(name) for name in ("ops", "b", "c")})
    assert sorted(policy.routes_of(dead)) == ["b", "c"]
    assert held_back({a.id: a for a in (dead, OCR)}, (), policy, 0)[0] == {}


WHOLE = alert("", kind="losses", severity="CRITICAL")


@pytest.mark.parametrize(
    ("what", "whole", "inhibition", "held"),
    [
        ("a pipeline's alert holds back its steps'", WHOLE, Inhibition(), True),
        ("not heavier ones", alert("", kind="losses", severity="UNKNOWN"), Inhibition(), False),
        ("not another pipeline's", alert("", pipeline="letters", severity="CRITICAL"), Inhibition(), False),
        ("not when it is of another kind than is to", WHOLE, Inhibition(kinds=("sight",)), False),
        ("not when nothing is to", WHOLE, Inhibition(enabled=False), False),
        ("not when it ended long ago", WHOLE.resolved(20), Inhibition(), False),
        ("still when it has just ended", WHOLE.resolved(95), Inhibition(), True),
        (
            "one about everything: those of its kind",
            alert("", pipeline="", kind="errors"),
            Inhibition(),
            True,
        ),
        ("and no others", alert("", pipeline="", kind="sight"), Inhibition(), False),
    ],
)
def test_inhibition(what: str, whole: Alert, inhibition: Inhibition, held: bool) -> None:
    """What holds back what."""
    policy = replace(POLICY, inhibition=inhibition)
    found, _ = held_back({a.id: a for a in (whole, OCR)}, (), policy, 100)
    assert (OCR.id in found) is held, what


def test_a_held_back_alert_is_told_when_what_held_it_is_gone() -> None:
    """And the end of one that was told before is told all the same."""
    assert asked([OCR, WHOLE], now=100)[0] == [("ops", [("", "firing")])]
    gone = WHOLE.resolved(120)
    assert asked([OCR, gone], [told(WHOLE, 100)], now=125) == ([], 130)
    assert asked([OCR, gone], [told(gone, 125)], now=200)[0] == [FIRE_OCR]
    ended = asked([OCR.resolved(150), WHOLE], [told(OCR, 90), told(WHOLE, 100)], now=200)[0]
    assert ended == [END_OCR]


def test_a_silence_holds_from_its_start_to_its_end() -> None:
    """And the engine says when to ask again."""
    silence = Silence("s", "inv", "o*", "*", starts=50, ends=500, reason="", by="")
    assert asked([OCR], now=40, silences=(silence,))[0] == [FIRE_OCR]
    assert asked([OCR], now=50, silences=(silence,)) == ([], 500)
    assert asked([OCR], now=500, silences=(silence,))[0] == [FIRE_OCR]
    assert asked([INDEX], now=100, silences=(silence,))[0] == [("ops", [("index", "firing")])]
    assert asked([OCR.resolved(60)], [told(OCR, 20)], now=100, silences=(silence,))[0] == [END_OCR]
    assert asked([OCR, WHOLE], now=100, silences=(replace(silence, step=""),))[0] == [FIRE_OCR]


def test_who_was_told_hears_of_the_end_even_when_no_route_leads_there_any_more() -> None:
    """A changed configuration leaves nothing firing at a target for ever."""
    nobody = replace(POLICY, routes=())
    assert asked([OCR], [told(OCR, 10)], now=9999, policy=nobody) == ([], math.inf)
    assert asked([OCR.resolved(20)], [told(OCR, 10)], now=9999, policy=nobody)[0] == [END_OCR]


def test_an_alertmanager_is_told_at_once_again_and_again_and_of_each_severity() -> None:
    """There an alert is known by its labels, the severity among them, and forgotten without word of it."""
    always = Grouping((), 0, 0, 60)
    target = TargetPolicy("ops", identity=True, grouping=always, resends=True)
    policy = replace(POLICY, targets={"ops": target})
    assert asked([OCR], now=0, policy=policy)[0] == [FIRE_OCR]
    assert asked([OCR], [told(OCR, 0)], now=59, policy=policy) == ([], 60)
    again = plan({OCR.id: OCR}, {("ops", OCR.id): told(OCR, 0)}, (), (), policy, 60)
    assert [n.refresh for n in again.notifications] == [True]
    heavier = alert(severity="CRITICAL")
    assert asked([heavier], [told(OCR, 0)], now=1, policy=policy)[0] == [END_OCR]
    assert asked([heavier], [told(OCR.resolved(1), 1)], now=1, policy=policy)[0] == [FIRE_OCR]
