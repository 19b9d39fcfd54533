"""What alerts name of erased documents: gone from their records, firing or ended, and never back."""

from __future__ import annotations

from dataclasses import replace

from steptrail.consumers.alerts.model.alert import ERROR_GROUP, Alert
from steptrail.consumers.alerts.model.levels import Level, group_level
from steptrail.consumers.alerts.model.reconcile import ERASED_SENTENCE, NOTHING_ERASED, Erased, difference
from steptrail.consumers.health.rules.status import HealthStatus

LEVEL = Level("p", "ocr", "errors", HealthStatus.WARNING, "half of them fail", 10.0, examples=("a", "b"))
GROUP = group_level("g1", "p", "ocr", "ValueError", "no letter of Frau Huber", "NEW", 10.0)
OF_A = Erased(frozenset({("p", "a")}))


def owner(_: str, __: str) -> tuple[str, dict[str, str]]:
    return "", {}


def published(*levels: Level) -> dict[str, Alert]:
    alerts = difference({level.id: level for level in levels}, {}, now=20.0, ownership=owner)
    return {alert.id: alert for alert in alerts}


def test_an_erased_document_is_no_example_any_more() -> None:
    """Of an alert that fires: its record is written anew without it, once."""
    before = published(LEVEL)
    [after] = difference({LEVEL.id: LEVEL}, before, now=30.0, ownership=owner, erased=OF_A)
    assert (after.examples, after.episode) == (("b",), before[LEVEL.id].episode)
    again = difference({LEVEL.id: LEVEL}, {after.id: after}, now=40.0, ownership=owner, erased=OF_A)
    assert again == []


def test_the_document_of_another_pipeline_stays() -> None:
    """A document is its pipeline and its id."""
    other = Erased(frozenset({("q", "a")}))
    assert difference({LEVEL.id: LEVEL}, published(LEVEL), now=30.0, ownership=owner, erased=other) == []


def test_an_alert_that_has_ended_names_it_no_more_either() -> None:
    """Its record stays for days after."""
    [alert] = published(LEVEL).values()
    ended = alert.resolved(25.0)
    [after] = difference({}, {ended.id: ended}, now=30.0, ownership=owner, erased=OF_A)
    assert after == replace(ended, examples=("b",))


def test_no_examples_are_known_to_be_none_and_unknown_ones_stay() -> None:
    """Once a question has been answered, what was found before does not come back from the record."""
    before = published(LEVEL)
    unknown, none = replace(LEVEL, examples=None), replace(LEVEL, examples=())
    assert difference({LEVEL.id: unknown}, before, now=30.0, ownership=owner) == []
    [after] = difference({LEVEL.id: none}, before, now=30.0, ownership=owner)
    assert after.examples == ()


def test_the_text_of_a_group_that_is_no_more_goes_with_it() -> None:
    """The sentence of its ended alert holds the template of its messages."""
    [alert] = published(GROUP).values()
    assert alert.kind == ERROR_GROUP
    assert "Huber" in alert.sentence
    gone = Erased(groups=frozenset({"g1"}))
    [after] = difference({}, {alert.id: alert}, now=30.0, ownership=owner, erased=gone)
    assert (after.firing, after.sentence) == (False, ERASED_SENTENCE)
    assert difference({}, {after.id: after}, now=40.0, ownership=owner, erased=gone) == []
    assert difference({}, {alert.id: alert}, now=30.0, ownership=owner, erased=NOTHING_ERASED)[
        0
    ].sentence == (alert.sentence)
