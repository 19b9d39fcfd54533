"""Tables at any width."""

from __future__ import annotations

import csv
import io
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.deploy.terminal.layout import Column, Line, Table, cells, fold, on_terminal, piped
from steptrail.deploy.terminal.output import Styled, say, show, status_text, write_csv
from support.cli_screen_texts import CJK, SCAN, URL
from support.cli_screens import SCREENS, Terminal, screen

COLUMNS = [
    Column("when"),
    Column("pipeline", 3, unless_same=True),
    Column("document"),
    Column("n", 2, right=True),
    Column("message", 5, wrap="words"),
]


def text(lines: list[Line]) -> list[str]:
    return ["".join(part.text for part in line) for line in lines]


words = st.lists(
    st.one_of(st.text("abcxyz/-_", min_size=1, max_size=12), st.text("請求書文字", min_size=1, max_size=6)),
    max_size=20,
).map(" ".join)
ids = st.one_of(
    st.text("abc019-/_.", min_size=1, max_size=30), st.just(SCAN), st.just(URL), st.just(CJK), st.just("")
)
rows = st.lists(st.tuples(ids, ids, ids, st.integers(0, 10**9), words), min_size=1, max_size=6)


@settings(derandomize=True, deadline=None)
@given(rows=rows, width=st.integers(20, 220))
def test_ids_are_whole_and_nothing_is_wider_than_the_terminal(
    rows: list[tuple[str, str, str, int, str]], width: int
) -> None:
    """Each id is on one line, uncut; a line is wider than the terminal only for a value that is so itself."""
    table = Table(COLUMNS)
    for row in rows:
        table.add(*row)
    shown = text(list(on_terminal(table, width)))
    several = len({row[1] for row in rows} - {""}) > 1
    for when, pipeline, document, number, _ in rows:
        for value in (when, document, str(number), pipeline if several else ""):
            assert any(value in line for line in shown), (value, shown)
    for line in shown:
        longest = max([cells(part) for part in line.split()], default=0)
        assert cells(line) <= width or longest + len("    pipeline ") > width, (width, line)


@settings(derandomize=True, deadline=None)
@given(text_=words, width=st.integers(10, 100))
def test_folding_breaks_no_word_and_loses_none(text_: str, width: int) -> None:
    """But between wide characters, which is how their scripts are folded."""
    lines = fold(text_, width)
    assert "".join(lines).replace(" ", "") == text_.replace(" ", "")
    words = set(text_.split(" "))
    for line in lines:
        for word in line.split():
            assert not word.isascii() or word in words
        assert cells(line) <= width or " " not in line


@settings(derandomize=True, deadline=None)
@given(rows=rows)
def test_a_pipe_gets_one_row_a_line_and_every_column(rows: list[tuple[str, str, str, int, str]]) -> None:
    """Two spaces or more between fields, a dash for an empty one, so that awk -F'  +' counts right."""
    table = Table(COLUMNS)
    for row in rows:
        table.add(*row)
    lines = text(list(piped(table)))
    assert len(lines) == 1 + len(rows)
    assert re.split(" {2,}", lines[0]) == ["WHEN", "PIPELINE", "DOCUMENT", "N", "MESSAGE"]
    for row, line in zip(rows, lines[1:], strict=True):
        assert re.split(" {2,}", line.strip()) == [str(value) or "-" for value in row]


def test_a_megabyte_is_bounded_and_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal and in a pipe; the count is of what is not shown."""
    for value in ("word " * 200_000, "x" * 1_000_000):
        table = Table([Column("id"), Column("message", 2, wrap="words")])
        table.add("a", value)
        for lines in (text(list(on_terminal(table, 80))), text(list(piped(table)))):
            whole = "".join(lines)
            assert len(whole) < 6_000
            (left,) = re.findall(r"… \(([\d,]+) more characters\)", whole)
            shown = whole.count("x") if "x" in value else whole.count("word") * 5
            assert abs(1_000_000 - shown - int(left.replace(",", ""))) <= 2


def test_a_pipe_has_no_ansi_and_does_not_look_at_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says of a terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = Terminal(False)
    monkeypatch.setattr(sys, "stdout", pipe)
    table = Table([Column("document"), Column("status"), Column("message", 2, wrap="words")])
    table.add(SCAN, status_text("ERROR"), "word " * 100)
    show(table)
    say(Styled("CRITICAL", "bold red"), " word" * 100)
    assert "\x1b" not in pipe.getvalue()
    assert len(pipe.getvalue().splitlines()) == 3


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves no colour; without it there is some."""
    monkeypatch.setenv("TERM", "xterm-256color")
    found = {}
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        terminal = Terminal(True)
        monkeypatch.setattr(sys, "stdout", terminal)
        say(Styled("CRITICAL", "bold red"))
        found[no_color] = re.findall(r"\x1b\[([\d;]*)m", terminal.getvalue())
    assert any("31" in codes.split(";") for codes in found[""])
    assert not any(re.search(r"\b[349]\d\b", codes) for codes in found["1"])


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_colour_changes_no_letter(name: str, width: int) -> None:
    """The pictures are those of a coloured terminal, too."""
    coloured = screen(name, width, TERM="xterm-256color", NO_COLOR="")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == screen(name, width)


def test_commands_in_backticks_are_not_broken() -> None:
    """So that they can be copied."""
    lines = fold("It ends earlier by: `steptrail alerts expire 5f3a09c1`.", 40)
    assert "`steptrail alerts expire 5f3a09c1`." in lines


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("value", FORMULAS)
def test_csv_text_is_no_formula(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text that a spreadsheet would evaluate gets an apostrophe, a column's name too, unless it is to be raw."""
    write_csv([value], [[value]])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [[f"'{value}"]] * 2
    write_csv([value], [[value]], raw=True)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [[value]] * 2


def test_csv_numbers_stay_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Negative ones too; ordinary text is as it is."""
    from decimal import Decimal

    write_csv(["n"], [[-1, -1.5, Decimal("-2.50"), None, "a-b", "'quoted", True]])
    assert capsys.readouterr().out.splitlines()[1] == "-1,-1.5,-2.50,,a-b,'quoted,True"


def test_csv_is_raw_in_a_pipe_and_visible_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get the bytes."""
    for is_terminal, expected in ((False, "id\na\x1b[2Jb\n"), (True, "id\na\\x1b[2Jb\n")):
        stream = Terminal(is_terminal)
        monkeypatch.setattr(sys, "stdout", stream)
        write_csv(["id"], [["a\x1b[2Jb"]])
        assert stream.getvalue() == expected
