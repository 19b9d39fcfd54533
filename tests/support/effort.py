"""How much of the proof belongs to each change, and how much to `make test-all`.

`make test` is what a change is trusted by, within minutes. A test that proves by numbers takes them from `effort` and
is marked `thorough`: `make test-all` runs it again with more of them. A test that takes long by its nature (it starts a
cluster or a toolchain of its own, or kills and waits) is marked `ONLY_IN_TEST_ALL`, and left out by `make test`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = os.environ.get("STEPTRAIL_TEST_THOROUGH", "0") not in ("", "0")
"""Whether this is `make test-all`."""


def effort(usual: int, thorough: int) -> int:
    """How often, or how many: `usual`, or `thorough` in `make test-all`."""
    return thorough if THOROUGH else usual


ONLY_IN_TEST_ALL = pytest.mark.only_in_test_all
"""Marks a test, or a module by `pytestmark`, that `make test` leaves out."""


def only_some(*usual: Any, rest: Iterable[Any]) -> list[Any]:
    """Parameters of a test: the `usual` ones, and `rest`, which `make test` leaves out; a tuple is one of each name."""
    left_out = (each if isinstance(each, tuple) else (each,) for each in rest)
    return [*usual, *(pytest.param(*values, marks=ONLY_IN_TEST_ALL) for values in left_out)]
