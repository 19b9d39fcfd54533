import collections
import dataclasses
import datetime
import enum
import json
import pathlib
import types
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy
import orjson
import pandas
import pydantic
import pytest

from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.values.values import clean_text, identity_text, json_array, json_object, with_marks


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class NoItems(collections.abc.Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "<NoItems>"


@dataclasses.dataclass
class Point:
    x: int


class Pair(NamedTuple):
    a: int
    b: int


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    pages: int
    at: datetime.date
    key: str = pydantic.Field("secret", repr=False)
    inner: str = pydantic.Field("secret", exclude=True)
    more: float = 1.5


@dataclasses.dataclass
class Login:
    user: str
    password: str = dataclasses.field(repr=False)


class Colour(enum.Enum):
    RED = "red"
    NOTHING = float("nan")


def made(value: Any, limit: int = 256 * 1024) -> tuple[Any, dict[str, int] | None]:
    text, marks = json_object({"v": value}, limit)
    assert len(text) <= limit
    return orjson.loads(text).get("v", "absent"), marks


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        5e-324,
        1.7976931348623157e308,
        "",
        "grün 🙂 null \\u0000",
        [],
        [1, [2, {"a": None}]],
        {"": {}},
    ],
)
def test_ordinary_values_stay_as_they_are(value: Any) -> None:
    """What JSON and the store hold is not altered and not marked."""
    assert made(value) == (value, None)


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ((1, 2), [1, 2]),
        (ProcessingStatus.ERROR, "ERROR"),
        (Colour.RED, "red"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("aa"), {"a": 2}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Pair(1, 2), {"a": 1, "b": 2}),
        (Point(1), {"x": 1}),
        (Model(pages=3, at=datetime.date(2025, 1, 2)), {"pages": 3, "at": "2025-01-02", "more": 1.5}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (collections.deque([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (b"a\xc3\xbc", "aü"),
        (bytearray(b"a"), "a"),
        (memoryview(b"a"), "a"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Decimal("1.10"), 1.1),
        (Decimal("3.00"), 3),
        (Decimal("-1e-7"), -1e-7),
        (Fraction(5, 2), 2.5),
        (datetime.date(2025, 1, 2), "2025-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.datetime(2025, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), "2025-01-02T03:04:00+00:00"),
        (datetime.timedelta(minutes=1, milliseconds=500), 60.5),
        (pandas.Timestamp("2025-01-02T03:04:00Z"), "2025-01-02T03:04:00+00:00"),
        (pandas.Series([1, 2]), [1, 2]),
        (numpy.float32(0.5), 0.5),
        (numpy.uint8(7), 7),
        (numpy.str_("a"), "a"),
        (numpy.datetime64("2025-01-02"), "2025-01-02"),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (numpy.zeros(2), [0.0, 0.0]),
        (numpy.array(5), 5),
        (numpy.int64(5), 5),
        (numpy.float64(1.5), 1.5),
        (numpy.bool_(True), True),
    ],
)
def test_what_stands_for_a_json_value_becomes_it(value: Any, held: Any) -> None:
    """What has a form in JSON that SQL can use is given it, and is no strange value."""
    assert made(value) == (held, None)


@pytest.mark.parametrize(
    ("value", "held", "kind"),
    [
        (float("nan"), "nan", "non_finite"),
        (float("-inf"), "-inf", "non_finite"),
        (numpy.float64("inf"), "inf", "non_finite"),
        (Colour.NOTHING, "nan", "non_finite"),
        (2**64, "18446744073709551616", "big_int"),
        (-(2**63) - 1, "-9223372036854775809", "big_int"),
        (b"\xff\x00", "/wA=", "base64"),
        (Decimal("NaN"), "nan", "non_finite"),
        (Decimal("-Infinity"), "-infinity", "non_finite"),
        (Decimal("1e999"), "1E+999", "big_int"),
        (Decimal("0.12345678901234567890123"), 0.12345678901234568, "rounded"),
        (Fraction(1, 3), 1 / 3, "rounded"),
        (pandas.NaT, "NaT", "non_finite"),
        (object, "<class 'object'>", "repr"),
        (1j, "1j", "repr"),
        (NoRepr(), "<NoRepr without a repr>", "repr"),
        (NoItems(), "<NoItems>", "repr"),
        ("a\0b", "a\\x00b", "nul"),
        ("\udcff", "\\udcff", "surrogates"),
    ],
)
def test_what_json_cannot_hold_becomes_text_and_is_marked(value: Any, held: Any, kind: str) -> None:
    """Each strange value has one mark, of its kind, in a container too."""
    assert made(value) == (held, {kind: 1})
    assert made([value, value]) == ([held, held], {kind: 2})


def test_fields_that_a_repr_leaves_out_stay_out() -> None:
    """Who hides a field from logs hides it from here."""
    assert made(Login("ann", "hunter2")) == ({"user": "ann"}, None)
    assert made(Model(pages=1, at=datetime.date(2025, 1, 2), extra={1})) == (
        {"pages": 1, "at": "2025-01-02", "more": 1.5, "extra": [1]},
        None,
    )


def test_numbers_of_any_size_are_texts() -> None:
    """Python refuses to write thousands of digits; that raises nothing."""
    held, marks = made(10**6000)
    assert held.startswith("0x")
    assert marks == {"big_int": 1}


def test_none_beside_nan_is_told_apart() -> None:
    """None is null, nan is not."""
    assert made([None, float("nan"), "null"]) == ([None, "nan", "null"], {"non_finite": 1})
    assert made({"a": None, "b": [None, {"c": None}]})[1] is None


def test_keys_become_strings_and_none_is_lost() -> None:
    """Other keys are written out; two that would be the same stay two."""
    text, marks = json_object({1: "a", "1": "b", None: "c", (1, 2): "d", "a\0": "e", 1.5: "f"})  # type: ignore[dict-item]
    assert orjson.loads(text) == {
        "1": "a",
        "1#2": "b",
        "null": "c",
        "(1, 2)": "d",
        "a\\x00": "e",
        "1.5": "f",
    }
    assert marks is not None
    assert marks["key"] == 4


def test_cycles_and_depths_end() -> None:
    """A container within itself, or too far down, is not written out."""
    cycle: list[Any] = [1]
    cycle.append(cycle)
    assert made(cycle) == ([1, "[...]"], {"cycle": 1})
    own = Point(1)
    own.x = own  # type: ignore[assignment]
    assert made(own) == ({"x": "{...}"}, {"cycle": 1})
    shared = [1]
    assert made([shared, shared]) == ([[1], [1]], None)
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    held, marks = made(deep)
    assert marks is not None
    assert marks["depth"] == 1
    depth = 0
    while isinstance(held, list):
        (held,) = held
        depth += 1
    assert depth < 101


def test_shared_containers_cannot_blow_up() -> None:
    """A value whose text would have 10^12 parts ends early, and says so."""
    value: Any = {object(): 1}
    for _ in range(12):
        value = [value] * 10
    text, marks = json_object({"v": value})
    assert len(text) <= 256 * 1024
    assert marks is not None
    assert marks["dropped"] > 0


def test_long_texts_are_cut_first() -> None:
    """When details are too long, their longest texts go first and short values stay."""
    text, marks = json_object({"a": "x" * 1_000_000, "pages": 3, "b": "ü" * 1_000_000}, 20_000)
    found = orjson.loads(text)
    assert found["pages"] == 3
    assert found["a"] == "x" * 4096
    assert found["b"] == "ü" * 2048
    assert marks == {"cut": 1_000_000 - 4096 + 1_000_000 - 2048}


def test_many_entries_are_dropped_from_the_end() -> None:
    """What still does not fit is left out, entry by entry, and counted."""
    text, marks = json_object({f"key-{number}": number for number in range(10_000)}, 1000)
    found = orjson.loads(text)
    assert len(text) <= 1000
    assert found["key-0"] == 0
    assert marks == {"dropped": 10_000 - len(found)}


def test_a_little_stack_is_enough() -> None:
    """Reporting a RecursionError from near the end of the stack does not raise another one."""

    def down() -> tuple[bytes, Any]:
        try:
            return down()
        except RecursionError:
            pass
        return json_object({"v": {1}})

    text, marks = down()
    assert marks is not None
    assert isinstance(orjson.loads(text), dict)


def test_an_array_of_names() -> None:
    """Names are kept in order; what is no string becomes its repr; too many are dropped."""
    assert json_array(None) == (b"[]", None)
    assert json_array(("a", "b")) == (b'["a","b"]', None)
    assert json_array(["a\0", 1]) == (b'["a\\\\x00","1"]', {"nul": 1, "repr": 1})  # type: ignore[list-item]
    text, marks = json_array([f"step-{number}" for number in range(1000)], 100)
    assert len(text) <= 100
    assert marks == {"dropped": 1000 - len(orjson.loads(text))}


def test_texts_are_cleaned_and_cut_at_a_character() -> None:
    """Clean texts pass; NUL and surrogates are spelled out; a cut leaves whole characters."""
    assert clean_text("grün", 100) == ("grün", None)
    assert clean_text("a\0b\udc80", 100) == ("a\\x00b\\udc80", {"nul": 1, "surrogates": 1})
    assert clean_text("üüü", 5) == ("üü", {"cut": 1})
    assert clean_text("x" * 2_000_000, 1000) == ("x" * 1000, {"cut": 1_999_000})


def test_two_names_stay_two() -> None:
    """File names that UTF-8 cannot hold, and long ids with the same start, do not become one document."""
    assert identity_text("a\udcff", 100)[0] != identity_text("a\udcfe", 100)[0]
    one, marks = identity_text("x" * 5000 + "1", 1024)
    two, _ = identity_text("x" * 5000 + "2", 1024)
    assert one != two
    assert len(one) == len(two) == 1024
    assert marks == {"cut": 5001 - 1007}
    assert identity_text("doc", 1024) == ("doc", None)


def test_a_name_once_made_fit_stays_as_it_is() -> None:
    """What a reader got back finds the same document again."""
    for strange in ("a\0b", "a\udcff", "ü" * 5000):
        fit, _ = identity_text(strange, 1024)
        assert identity_text(fit, 1024) == (fit, None)


def test_marks_stand_in_the_details() -> None:
    """Under `_steptrail`, by field; nothing is added when nothing was altered; a key of that name gives way."""
    assert with_marks(b'{"a":1}', {"details": None, "metrics": {}}) == b'{"a":1}'
    assert with_marks(b"{}", {"metrics": {"nul": 1}}) == b'{"_steptrail":{"metrics":{"nul":1}}}'
    marked = with_marks(b'{"a":1,"_steptrail":2}', {"details": {"cut": 3}})
    assert json.loads(marked) == {"a": 1, "_steptrail": {"details": {"cut": 3}}}
    assert marked.count(b"_steptrail") == 1
    assert json.loads(with_marks(b'{"a":1}', {"details": {"cut": 3}}))["a"] == 1
