"""The order in which tests are run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.longest_first import LONGEST, longest_first

TESTS = Path(__file__).parents[1]


def test_every_file_that_is_said_to_take_long_is_there() -> None:
    """So that a file that was renamed does not become the last one unnoticed."""
    assert set(LONGEST) <= {path.stem for path in TESTS.rglob("test_*.py")}


def test_files_stay_together_and_units_come_last() -> None:
    """Tests of a file in their own order; those that wait for services before those that do not."""
    names = [
        "unit/test_a.py",
        "integration/test_z.py",
        f"integration/{LONGEST[1]}.py",
        f"integration/{LONGEST[0]}.py",
    ]
    items: list[Any] = [SimpleNamespace(path=TESTS / name, number=n) for n in range(2) for name in names]
    places = [(each.path, each) for each in longest_first(items)]
    assert [path for path, _ in places] == [TESTS / name for name in reversed(names) for _ in range(2)]
    assert [each.number for _, each in places] == [0, 1] * len(names)  # type: ignore[attr-defined]
