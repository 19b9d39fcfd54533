"""Whatever value is recorded, in any argument: an event that the strict decoder takes, and that reads show."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.producers import InMemoryStorage, ProcessingStepManager, StepHandle
from steptrail.schemas import ProcessingStatus
from steptrail.schemas.values.plain_numbers import plain_number
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import split_frame
from support.effort import effort
from support.strange_values import TIMES, Endless, nested


def no(*_: object) -> Any:
    raise RuntimeError("no")


def hostile(*names: str, base: type = object) -> Any:
    """A class of which these methods raise."""
    return type("Hostile", (base,), dict.fromkeys((f"__{name}__" for name in names), no))


_ASKED = ("repr", "str", "bool", "len", "iter", "float", "index", "int", "lt", "eq", "format", "getitem")
Hostile = hostile(*_ASKED)
Hostile.__hash__ = object.__hash__
HostileText = hostile("str", "repr", "len", "iter", "getitem", "contains", base=str)
for name in ("isascii", "encode", "replace", "count"):
    setattr(HostileText, name, no)
Dozing = type("Dozing", (tzinfo,), {"utcoffset": no})


class Special(Enum):
    """Stands for a value that hypothesis itself would stumble over, until the test runs."""

    HOSTILE = 1
    TEXT = 2
    ENDLESS = 3
    DOZING = 4
    DEEP = 5


def real(value: Any) -> Any:
    """The value, with what its specials stand for."""
    if isinstance(value, Special):
        return {
            Special.HOSTILE: Hostile,
            Special.TEXT: lambda: HostileText("text"),
            Special.ENDLESS: Endless,
            Special.DOZING: lambda: datetime(2026, 1, 1, tzinfo=Dozing()),
            Special.DEEP: lambda: nested(2000),
        }[value]()
    if type(value) is list or type(value) is tuple:
        return type(value)(real(item) for item in value)
    if type(value) is dict:
        return {real(key): real(item) for key, item in value.items()}
    return value


numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.sampled_from(
        [10**400, -(10**400), 2**31, 2**31 - 1, 2**63, -(2**63) - 1, 1.7976931348623157e308, 5e-324, -0.0]
    ),
    st.floats(width=32).map(numpy.float32),
    st.integers(-(2**63), 2**63 - 1).map(numpy.int64),
    st.sampled_from(
        [Decimal("sNaN"), Decimal("1e999999"), Decimal("-Infinity"), Fraction(10**400), numpy.float64("nan")]
    ),
)
texts = st.text(st.characters(exclude_categories=()), max_size=40) | st.sampled_from(
    ["", "x" * 5000, "ü" * 5000, "\0" * 2000, "\udcff" * 2000, Special.TEXT, numpy.str_("text")]
)
times = st.one_of(
    st.none(),
    st.datetimes(
        timezones=st.sampled_from([timezone.utc, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=14))])
    ),
    st.sampled_from(
        [
            *TIMES.values(),
            Special.DOZING,
            pandas.Timestamp(datetime(1, 1, 1, tzinfo=timezone.utc)),
        ]
    ),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    times,
    st.binary(max_size=20),
    st.timedeltas(),
    st.uuids(),
    st.sets(st.integers(), max_size=3),
    st.sampled_from(
        [
            Special.HOSTILE,
            Special.ENDLESS,
            Special.DEEP,
            PurePosixPath("/a"),
            numpy.zeros((2, 2)),
            1j,
            object,
            pandas.NA,
        ]
    ),
)
keys = texts | st.integers() | st.none() | st.sampled_from([(1, 2), Decimal(1), b"key"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.one_of(
    st.none(),
    st.dictionaries(keys, values, max_size=4),
    st.builds(
        lambda n, rest: {**rest, "retry_count": n},
        numbers | leaves,
        st.dictionaries(keys, values, max_size=2),
    ),
    st.builds(
        lambda n, rest: {**rest, "depends_on": n},
        st.lists(leaves) | leaves,
        st.dictionaries(keys, values, max_size=2),
    ),
    st.builds(
        lambda n, rest: {**rest, "duration_ms": n},
        numbers | leaves,
        st.dictionaries(keys, values, max_size=2),
    ),
    st.just(Special.ENDLESS),
)


class Watched(InMemoryStorage):
    """Decodes each message as readers do, and keeps the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        keep = self._line.produce

        def produce(topic: str, value: bytes, *rest: Any) -> None:
            self.messages.append(value)
            keep(topic, value, *rest)

        self._line.produce = produce


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def assert_readable(storage: Watched, count: int) -> None:
    """So many messages, each decoded strictly, shown by reads, and none refused."""
    assert (len(storage.messages), storage.refused) == (count, 0)
    events = [decode_event(message[split_frame(message).length :]) for message in storage.messages]
    assert events == list(storage.events())
    for event in events:
        assert isinstance(json.loads(event.details), dict)
        assert event.duration_ms is None or 0 <= event.duration_ms <= 1e15


@pytest.mark.thorough
@settings(derandomize=True, deadline=None, max_examples=effort(60, 400))
@given(
    doc_id=texts,
    step_name=texts,
    status=st.sampled_from(ProcessingStatus),
    details=objects,
    metrics=objects,
    error_message=st.none() | texts,
    timestamp=times,
    error_type=st.none() | texts,
    attempt=st.none() | st.integers(),
)
def test_add_step(
    doc_id: str,
    step_name: str,
    status: ProcessingStatus,
    details: Mapping[str, Any] | None,
    metrics: Mapping[str, Any] | None,
    error_message: str | None,
    timestamp: datetime | None,
    error_type: str | None,
    attempt: int | None,
) -> None:
    """Through `add_step`, with a handle too, whatever attempt it names."""
    storage = Watched()
    manager = ProcessingStepManager(storage)
    doc_id, step_name, error_type = real(doc_id), real(step_name), real(error_type)
    more = {"details": details, "metrics": metrics, "error_message": error_message, "timestamp": timestamp}
    more = {name: real(value) for name, value in more.items()}
    manager.add_step(doc_id, step_name, status, error_type=error_type, **more)  # type: ignore[arg-type]
    handle = StepHandle(b"e" * 16, b"x" * 16, 1 if attempt is None else attempt, doc_id, step_name)
    manager.add_step(doc_id, step_name, status, execution=handle, **more)  # type: ignore[arg-type]
    assert_readable(storage, 2)
    assert len(manager.get_steps(doc_id)) == 2


@pytest.mark.thorough
@settings(derandomize=True, deadline=None, max_examples=effort(40, 200))
@given(
    status=st.sampled_from(ProcessingStatus),
    attempt=st.none() | numbers,
    duration_ms=st.none() | numbers,
    depends_on=st.none() | st.lists(texts) | st.sets(st.sampled_from(["a", "b"])) | st.just(Special.ENDLESS),
    trace_id=st.none() | texts,
    timestamp=times,
)
def test_emit(
    status: ProcessingStatus,
    attempt: Any,
    duration_ms: Any,
    depends_on: Collection[str] | None,
    trace_id: str | None,
    timestamp: datetime | None,
) -> None:
    """Through `emit`, which takes what only few give."""
    storage = Watched()
    storage.emit(
        "doc",
        "ocr",
        status,
        real(timestamp),
        attempt=attempt,
        duration_ms=duration_ms,
        depends_on=real(depends_on),
        trace_id=real(trace_id),
    )
    assert_readable(storage, 1)


@pytest.mark.thorough
@settings(derandomize=True, deadline=None, max_examples=effort(40, 200))
@given(
    details=objects,
    given_details=objects,
    metric=leaves,
    bound=numbers.filter(lambda n: plain_number(n) == plain_number(n)),
    text=texts,
)
def test_step(details: Any, given_details: Any, metric: Any, bound: Any, text: str) -> None:
    """Through `step`: its details, its metrics, its thresholds and the exception."""
    storage = Watched()
    manager = ProcessingStepManager(storage)
    with pytest.raises(ValueError):  # noqa: SIM117
        with manager.step("doc", "ocr", details=real(details), thresholds={"m": bound}, warn_after_ms=bound):
            raise ValueError(real(text))
    with manager.step("doc", "ocr", thresholds={"m": bound}) as step:
        step.details = real(given_details) if given_details is not None else {}
        step.metrics["m"] = real(metric)
    assert_readable(storage, 4)
    assert [each.status.value for each in manager.get_steps("doc")][::2] == ["RUNNING", "RUNNING"]
