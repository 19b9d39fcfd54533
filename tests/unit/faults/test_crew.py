"""The crew that runs rows side by side: every row has its line, also when the process that ran it is gone."""

from __future__ import annotations

import sys

import pytest

from faults.crew import side_by_side

MEMBER = """
import json, os, sys
for number in map(int, sys.stdin):
    if number == 3:
        os._exit(7)
    print(json.dumps({"row": number, "ok": True, "pid": os.getpid()}), flush=True)
"""


@pytest.mark.parametrize("members", [1, 2, 9])
def test_every_row_is_run_once(members: int) -> None:
    """However many members there are, each row has one line, and no more processes ran than were asked for."""
    lines = list(side_by_side([1, 2, 4, 5, 6], members, [sys.executable, "-c", MEMBER]))
    assert sorted(line["row"] for line in lines) == [1, 2, 4, 5, 6]
    assert all(line["ok"] for line in lines)
    assert len({line["pid"] for line in lines}) <= members


def test_a_row_whose_process_died_failed() -> None:
    """A member that dies fails its row and says so; the rows after it are run by another."""
    lines = {line["row"]: line for line in side_by_side([1, 3, 4], 1, [sys.executable, "-c", MEMBER])}
    assert (lines[1]["ok"], lines[3]["ok"], lines[4]["ok"]) == (True, False, True)
    assert lines[3]["detail"] == {"wrong": ["the process that ran the row ended with 7"]}
