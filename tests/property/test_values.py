"""Whatever values people hand in, an event can carry what is made of them."""

import datetime
import decimal
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.schemas.values.values import clean_text, identity_text, json_array, json_object, with_marks
from support.effort import effort


class Odd:
    """Raises, or says strange things, when asked what it is."""

    def __init__(self, said: str | None) -> None:
        self.said = said

    def __repr__(self) -> str:
        if self.said is None:
            raise ValueError("I will not say")
        return self.said


any_text = st.text(st.characters() | st.sampled_from("\0\ud800\udfff\u2028\ufeff"), max_size=30)
leaves: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | any_text
    | st.binary(max_size=20)
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.datetimes()
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.builds(Odd, st.none() | any_text)
    | st.just(object)
    | st.builds(set)
)
keys = any_text | st.integers() | st.none() | st.floats() | st.booleans() | st.binary(max_size=5) | st.dates()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=25,
)
details = st.dictionaries(keys, values, max_size=6)


def refuse_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def assert_fit(text: bytes, limit: int) -> Any:
    """Strict JSON, valid UTF-8, within the limit, and without NUL."""
    assert len(text) <= limit
    found = json.loads(text.decode("utf-8"), parse_constant=refuse_constant)
    assert orjson.loads(text) is not None
    assert not any("\0" in each for each in strings_of(found))
    return found


def strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings_of(item)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(200, 500), deadline=None)
@given(details, st.sampled_from([64, 500, 5000, 256 * 1024]))
def test_an_object_is_made_of_anything(value: dict[Any, Any], limit: int) -> None:
    """No value raises; what comes out is an object that every reader takes, marks included."""
    text, marks = json_object(value, limit)
    found = assert_fit(text, limit)
    assert isinstance(found, dict)
    assert marks is None or all(count > 0 for count in marks.values())
    marked = json.loads(with_marks(text, {"details": marks}))
    assert marked.get("_steptrail", {"details": None})["details"] == marks or marks is None


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(details)
def test_what_was_made_fit_is_fit(value: dict[Any, Any]) -> None:
    """Made fit once, an object passes unaltered, with the same bytes."""
    text, _ = json_object(value)
    assert json_object(orjson.loads(text)) == (text, None)


json_only = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abü", max_size=5), inner, max_size=4)
    ),
    max_leaves=25,
)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(st.dictionaries(st.text("abü", max_size=5), json_only, max_size=6))
def test_json_values_come_back_as_they_were(value: dict[str, Any]) -> None:
    """What JSON holds is neither altered nor marked."""
    text, marks = json_object(value)
    assert marks is None
    assert orjson.loads(text) == value


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(80, 200), deadline=None)
@given(st.lists(leaves, max_size=8), st.sampled_from([2, 40, 5000]))
def test_an_array_is_made_of_anything(names: list[Any], limit: int) -> None:
    """No name raises; what comes out is an array of strings."""
    found = assert_fit(json_array(names, limit)[0], limit)
    assert all(isinstance(name, str) for name in found)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(any_text, st.integers(17, 60))
def test_texts_are_made_fit(text: str, limit: int) -> None:
    """Clean texts encode, hold no NUL, keep the limit, and pass a second time unaltered."""
    for make in (clean_text, identity_text):
        fit, marks = make(text, limit)
        assert len(fit.encode()) <= limit
        assert "\0" not in fit
        assert make(fit, limit) == (fit, None)
        assert (fit == text) == (marks is None)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(80, 200), deadline=None)
@given(
    st.datetimes(timezones=st.just(datetime.timezone.utc)), st.decimals(allow_nan=False, allow_infinity=False)
)
def test_times_and_decimals_can_be_read_back(moment: datetime.datetime, number: decimal.Decimal) -> None:
    """A time is ISO 8601, a decimal a number, and where it is not exactly the same, the mark says so."""
    text, marks = json_object({"moment": moment, "number": number})
    found = orjson.loads(text)
    assert datetime.datetime.fromisoformat(found["moment"]) == moment
    if marks is None:
        assert decimal.Decimal(repr(found["number"])) == number
    else:
        assert marks in ({"rounded": 1}, {"big_int": 1})
        assert float(found["number"]) == float(number)
