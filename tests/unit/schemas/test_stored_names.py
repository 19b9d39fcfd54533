"""One limit and one function for names: what an emitter makes of one is what every reader makes of it."""

import hashlib

import pytest

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.policy import Owner, Route
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.health.rules.rules import Rule
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.producers.memory import InMemoryStorage
from steptrail.schemas import ProcessingStatus
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.stored_names import MAX_NAME_BYTES, matches_name, stored_name

LENGTHS = (1, 1006, 1007, 1023, 1024, 1025, 1026, 1027, 1028, 2048, 4095, 4096, 4097, 5000)
LETTERS = ("a", "é", "字", "𝒳", "\0", "\ud800", "\udcff")


@pytest.mark.parametrize("letter", LETTERS, ids=ascii)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_name_has_one_stored_form(letter: str, length: int) -> None:
    """At every length and cut point: UTF-8 within the limit, stored again the same, found by the whole name."""
    size = len(letter.encode("utf-8", "surrogatepass"))
    name = "b" * (length % size) + letter * (length // size)
    stored = stored_name(name)
    assert len(stored.encode()) <= MAX_NAME_BYTES
    assert stored_name(stored) == stored
    assert matches_name(stored, name)
    assert matches_name(stored, stored)
    assert not matches_name(stored, name + "c")
    assert stored_name(name + "c") != stored


@pytest.mark.parametrize("limit", [64, 1000, 1024, 4096])
def test_a_rule_finds_the_name_whatever_limit_the_emitter_had(limit: int) -> None:
    """A glob, a name within the limit and one beyond it; a part of a long name is another name."""
    name = "https://bucket.example.com/scan.pdf?X-Signature=" + "a" * 5000
    stored = stored_name(name, limit)
    assert stored.endswith("~" + hashlib.sha256(name.encode()).hexdigest()[:16])
    assert matches_name(stored, name)
    assert matches_name(stored, "https://bucket*")
    assert not matches_name(stored, name[:-1])
    assert not matches_name("short", name)
    assert matches_name("ocr", "o?r")


@pytest.mark.parametrize("step", ["https://bucket/x?y=" + "a" * 1100, "字" * 400, "scan-\udcff", "a\0b"])
def test_health_rules_silences_and_routes_find_a_step_by_the_name_that_was_emitted(step: str) -> None:
    """What a rule names as the worker does is the step as it is stored."""
    stored = stored_name(step)
    now = 100.0
    alert = Alert("a", "e", "inv", stored, HealthStatus.CRITICAL, "errors", "", now, now)
    assert Silence("s", "inv", step, "*", starts=50, ends=500, reason="", by="").matches(alert)
    assert Route("r", ("t",), steps=(step,)).matches(alert)
    assert Owner(step=step).matches("inv", stored)
    rule = Rule(step=step, silenced=frozenset({"errors"}))
    assert rule.matches("inv", stored)
    assert not rule.matches("inv", stored + "x")


def test_the_default_is_the_settings() -> None:
    """Readers without settings cut where emitters without settings do."""
    assert Settings.model_fields["max_name_bytes"].default == MAX_NAME_BYTES


@pytest.mark.parametrize("name", ["u" * 1025, "字" * 1000, "scan-\udcff.pdf", "a\0b", "~" * 3000])
def test_the_twin_finds_what_was_emitted(name: str) -> None:
    """InMemoryStorage reads by the same function."""
    storage = InMemoryStorage()
    storage.emit(name, "ocr", ProcessingStatus.SUCCESS)
    assert len(storage.get_steps(name)) == len(storage.get_steps(stored_name(name))) == 1
