"""What `add_step` looks at is bounded, whatever it is given: counted, since time says nothing in a test."""

from __future__ import annotations

import json
from array import array
from collections import Counter, UserList, UserString
from collections.abc import Callable, Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager
from steptrail.schemas import ProcessingStatus, StepEvent
from steptrail.schemas.values.clean_texts import clean_text, identity_text

SUCCESS = ProcessingStatus.SUCCESS
MOST = 70_000
LOOKS: Counter[str] = Counter()


class Entries(Mapping[Any, Any]):
    """So many entries, or no end of them; counts those that were taken."""

    def __init__(self, value: Callable[[int], Any] = int, number: int = 10**12) -> None:
        self.value, self.number = value, number

    def __iter__(self) -> Iterator[str]:
        for number in range(self.number):
            LOOKS["entries"] += 1
            yield f"key {number}"

    def __getitem__(self, key: str) -> Any:
        return self.value(int(key[4:]))

    def __len__(self) -> int:
        return self.number


class Names(Collection[str]):
    """Names without an end; counts those that were taken."""

    def __iter__(self) -> Iterator[str]:
        while True:
            LOOKS["names"] += 1
            yield "step"

    def __len__(self) -> int:
        return 10**12

    def __contains__(self, _name: object) -> bool:
        return True


class Shown:
    """Counts how often its repr is asked."""

    def __repr__(self) -> str:
        LOOKS["reprs"] += 1
        return "shown"


class Held(UserList[Any]):
    """A list of another class; counts the elements that were taken."""

    def __iter__(self) -> Iterator[Any]:
        for item in self.data:
            LOOKS["elements"] += 1
            yield item


class Key(str):
    """Counts how often its length is asked."""

    __slots__ = ()

    def __len__(self) -> int:
        LOOKS["lengths"] += 1
        return super().__len__()


class Real:
    """Counts how often it is made a number."""

    def __float__(self) -> float:
        LOOKS["floats"] += 1
        return 1.5


@pytest.fixture(autouse=True)
def from_zero() -> None:
    LOOKS.clear()


def recorded(**arguments: Any) -> StepEvent:
    storage = InMemoryStorage()
    ProcessingStepManager(storage).add_step("doc", "ocr", SUCCESS, **arguments)
    [event] = storage.events()
    return event


def dropped(event: StepEvent, field: str = "details") -> int:
    count = json.loads(event.details)["_steptrail"][field]["dropped"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("field", ["details", "metrics"])
@pytest.mark.parametrize(
    "value", [int, str, lambda _: Shown(), lambda _: Real(), lambda _: {}, lambda _: [1]]
)
def test_a_mapping_without_an_end(field: str, value: Callable[[int], Any]) -> None:
    """No more of it is taken than an event has a chance to hold, and the rest is marked."""
    event = recorded(**{field: Entries(value)})
    assert 0 < LOOKS["entries"] < MOST
    assert dropped(event, field) >= 1
    assert len(json.loads(getattr(event, field))) > 100


def test_through_step() -> None:
    """`step` copies no more of its details than that, whatever is put into them."""
    storage = InMemoryStorage()
    with ProcessingStepManager(storage).step("doc", "ocr", details=Entries(), depends_on=Names()) as step:
        step.details = Entries()  # type: ignore[assignment]
        step.metrics = Entries()  # type: ignore[assignment]
    assert LOOKS["entries"] < 5 * MOST
    assert LOOKS["names"] < 5 * MOST
    assert len(list(storage.events())) == 2


def test_names_without_an_end() -> None:
    """Steps that this one depends on are taken while there is room for their names."""
    storage = InMemoryStorage()
    storage.emit("doc", "ocr", SUCCESS, depends_on=Names())
    [event] = storage.events()
    assert 1000 < len(json.loads(event.depends_on)) < MOST
    assert LOOKS["names"] < 2 * MOST


@pytest.mark.parametrize(
    ("value", "looks", "most"),
    [
        ([Shown()] * 1_000_000, "reprs", 2_000),
        ({Shown(): 1 for _ in range(100_000)}, "reprs", 2_000),
        ([Real()] * 1_000_000, "floats", 5_000),
        ([[Shown()]] * 1_000_000, "reprs", 2_000),
        ([[[Shown()] * 10] * 10_000] * 10_000, "reprs", 2_000),
        (ValueError([Shown()] * 1_000_000), "reprs", 2_000),
        (ValueError(*[Shown()] * 1_000_000), "reprs", 2_000),
        (UserList([Shown()] * 1_000_000), "reprs", 2_000),
        (SimpleNamespace(values=[Shown()] * 1_000_000), "reprs", 2_000),
    ],
)
def test_what_needs_a_form_is_asked_for_so_often(value: Any, looks: str, most: int) -> None:
    """What runs code of the value's own counts for more than what is plain."""
    event = recorded(details={"value": value})
    assert 0 < LOOKS[looks] <= most
    assert dropped(event) >= 900 if looks == "reprs" else dropped(event) > 10_000


def test_a_dictionary_that_cannot_fit_is_known_by_its_number_of_keys() -> None:
    """Each entry needs five bytes at least: it takes no walk over a million keys to see that they do not fit."""
    recorded(details={Key(n): 1 for n in range(1_000_000)})
    assert LOOKS["lengths"] < 10


def test_keys_that_are_no_text_count_for_more() -> None:
    """Such a key has to be made a text, which costs as much as a value that has no JSON form."""
    event = recorded(details={"counts": dict.fromkeys(range(1000000), 1)})
    assert 1_000 < len(json.loads(event.details)["counts"]) < 8_000


def test_exceptions_are_written_as_far_as_they_are_kept() -> None:
    """An exception that holds a long text, or many values, is shown by the beginning of each, a small one whole."""
    event = recorded(
        details={
            "small": OSError(2, "no such file"),
            "text": ValueError("x" * 10_000_000),
            "bytes": ValueError(b"x" * 10_000_000),
            "number": ValueError(1 << 1_000_000),
            "mixed": KeyError("page", ["a" * 1_000_000, 7]),
        }
    )
    found = json.loads(event.details)
    assert found["small"] == "FileNotFoundError(2, 'no such file')"
    assert found["text"].startswith("ValueError('xxxx")
    assert found["bytes"].startswith("ValueError(b'xxxx")
    assert found["number"].startswith('ValueError("0x')
    assert found["mixed"].startswith("KeyError('page', [\"aaaa")
    assert all(len(text) <= 8192 for name, text in found.items() if name != "_steptrail")


def test_containers_of_the_standard_library_are_containers() -> None:
    """Whatever is a sequence or has attributes alone becomes JSON, element by element, not a repr of all of it."""
    event = recorded(
        details={
            "array": array("d", [1.5, 2.5]),
            "list": UserList([1, 2]),
            "text": UserString("page"),
            "names": SimpleNamespace(page=3),
            "large": array("d", [1.5]) * 1_000_000,
        }
    )
    found = json.loads(event.details)
    assert (found["array"], found["list"], found["text"], found["names"]) == (
        [1.5, 2.5],
        [1, 2],
        "page",
        {"page": 3},
    )
    assert len(found["large"]) + dropped(event) == 1_000_000


def test_what_is_left_is_counted_where_it_is_known() -> None:
    """Of a list of a million so many are there, and the others are said to be dropped."""
    event = recorded(details={"values": list(range(1_000_000)), "pages": 3})
    found = json.loads(event.details)
    assert len(found["values"]) + dropped(event) == 1_000_000
    assert len(found["values"]) > 10_000
    assert found["pages"] == 3
    event = recorded(details={f"key {n}": n for n in range(100_000)})
    assert len(json.loads(event.details)) - 1 + dropped(event) == 100_000


def test_the_last_of_many_small_values_stay_plain() -> None:
    """What fits is kept as it is, though there is much of it, and one strange value among it costs none of it."""
    boxes = [[n, n + 1, n + 2, n + 3] for n in range(8_000)]
    found = json.loads(recorded(details={"boxes": boxes, "at": {1, 2}}).details)
    assert found == {"boxes": boxes, "at": [1, 2]}


def test_long_texts_cost_what_is_kept() -> None:
    """A cut text is cleaned only as far as it is kept; the marks count what was looked at."""
    text, marks = clean_text("\0\udcff" * 10_000_000, 60_000)
    assert len(text.encode()) <= 60_000
    assert marks is not None
    assert marks["nul"] <= 60_000
    assert marks["cut"] > 19_000_000
    long = "x" * 3_000_000
    assert identity_text(long + "1", 1024)[0] != identity_text(long + "2", 1024)[0]
    assert identity_text("1" + long, 1024)[0] != identity_text("2" + long, 1024)[0]
    assert identity_text(long, 1024)[0] != identity_text(long + "x", 1024)[0]
