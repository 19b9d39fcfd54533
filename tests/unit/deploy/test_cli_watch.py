"""What watching tells: changes from one answer to the next, or the list drawn anew."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

import pytest

from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal.failures import USAGE
from steptrail.deploy.terminal.listing import Changes, Listing, redraw
from steptrail.deploy.terminal.output import say
from support.cli_screens import Terminal


def told(changes: Changes, *items: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(each["change"], each["item"]) for each in changes.since_last(items, None)]


def test_what_is_new_changed_and_gone_is_told_once() -> None:
    """By the fields that identify an item; one that stays as it is is not told again."""
    changes = Changes(["doc_id", "step_name"])
    first, other = (
        {"doc_id": "a", "step_name": "ocr", "tries": 1},
        {"doc_id": "b", "step_name": "ocr", "tries": 1},
    )
    assert told(changes, first, other) == [("new", first), ("new", other)]
    assert told(changes, other, first) == []
    again = {**first, "tries": 2}
    assert told(changes, again) == [("changed", again), ("gone", other)]
    assert told(changes, again, other) == [("new", other)]
    assert told(changes) == [("gone", again), ("gone", other)]


def test_values_are_compared_as_json_has_them() -> None:
    """A time is the same time in whatever zone it came; lists and tuples are alike."""
    changes = Changes(["at"])
    at = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
    item = {"at": "2026-05-04T12:00:00Z", "names": ["x"]}
    assert told(changes, {"at": at, "names": ("x",)}) == [("new", item)]
    assert told(changes, item) == []


@pytest.mark.parametrize(("term", "clears"), [("xterm-256color", True), ("dumb", False)])
def test_a_list_is_drawn_anew(term: str, clears: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the one before, where the terminal can."""
    screen = Terminal(True)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", "1")
    redraw(Listing([], lambda: say("one document")), None, 2.0)
    shown = screen.getvalue()
    assert shown.startswith("\x1b[H\x1b[2J") is clears
    assert shown.index("one document") < shown.index("Asked every 2.0 s; Ctrl-C ends it.")


@pytest.mark.parametrize("every", ["soon", "0s", "2d", "-1s"])
def test_a_pause_that_cannot_be_is_told(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    assert run(["failing", "--watch", f"--every={every}"]) == USAGE
    assert "--every takes a duration" in capsys.readouterr().err
