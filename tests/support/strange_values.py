"""Values that no store would take as they are: what each becomes is readable, and no event of theirs is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy
import pandas


class Endless(Mapping[str, Any]):
    """A mapping without an end."""

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"key {number}"

    def __getitem__(self, key: str) -> str:
        return key

    def __len__(self) -> int:
        return 10**9


def nested(levels: int) -> list[Any]:
    """Lists within each other."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def objects(levels: int) -> dict[str, Any]:
    """Objects within each other."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


TIMES: Final[Mapping[str, Any]] = {
    "year 1": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "year 1800": datetime(1800, 1, 1, tzinfo=timezone.utc),
    "year 9999": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-14))),
    "no time": pandas.NaT,
    "another's time": pandas.Timestamp("2026-01-02T03:04:05.123456789Z"),
}
WORST: Final[Mapping[str, Mapping[str, Any]]] = {
    **{name: {"timestamp": time} for name, time in TIMES.items()},
    "greatest double": {"metrics": {"duration_ms": 1.7976931348623157e308}},
    "least double": {"metrics": {"duration_ms": 5e-324}},
    "negative duration": {"metrics": {"duration_ms": -1.0}},
    "duration of nan": {"metrics": {"duration_ms": float("nan")}},
    "infinite duration": {"metrics": {"duration_ms": float("-inf")}},
    "duration without end": {"metrics": {"duration_ms": 10**400}},
    "decimal duration": {"metrics": {"duration_ms": Decimal("1e999")}},
    "fraction": {"metrics": {"duration_ms": Fraction(1, 3), "m": Fraction(10**400)}},
    "numpy": {"metrics": {"duration_ms": numpy.float32(1.5), "a": numpy.zeros((3, 3))}},
    "great retries": {"details": {"retry_count": 10**30}},
    "negative retries": {"details": {"retry_count": -(10**30)}},
    "infinite retries": {"details": {"retry_count": float("inf")}},
    "depth of 254": {"details": {"in": nested(253)}},
    "depth of 1,024": {"details": {"in": nested(1024)}, "metrics": objects(1024)},
    "depth of 100,000": {"details": {"in": nested(100_000)}},
    "long digits": {"details": {"n": 10**400, "m": -(2**70), "k": Decimal(1).scaleb(400)}},
    "keys": {"details": {1: 1, None: 2, b"k": 3, (1, 2): 4, "": 5, "\0": 6, "\ud800": 7, "k" * 5000: 8}},
    "bytes": {"details": {"utf8": b"text", "not": b"\xff\x00", "long": b"x" * 2_000_000}},
    "endless": {"details": Endless(), "metrics": Endless()},
    "many keys": {"details": {f"key {n}": n for n in range(100_000)}},
    "many names": {"details": {"depends_on": ["s" * 2000] * 100_000}},
    "nothing": {"details": {}, "metrics": {}, "error_message": "", "error_type": ""},
    "long texts": {"error_message": "\ud800" * 1_000_000, "error_type": "ü" * 1_000_000},
}
"""Arguments of `add_step`."""
