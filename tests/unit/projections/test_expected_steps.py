"""Declarations of expected steps: what can be declared, in code and in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steptrail.projections.stores.expected_steps import BadDeclaration, check_declaration
from steptrail.projections.stores.expected_steps_file import parse_expected_steps, read_expected_steps
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.stored_names import stored_name


def test_steps_keep_their_order() -> None:
    """A list is declared in its order; a set, which has none, by name."""
    assert check_declaration("p", ["ocr", "fetch"]) == ("ocr", "fetch")
    assert check_declaration("p", {"ocr", "fetch"}) == ("fetch", "ocr")
    assert check_declaration("p", dict.fromkeys(["b", "a"])) == ("b", "a")
    assert check_declaration("p", []) == ()


@pytest.mark.parametrize(
    ("pipeline", "steps", "message"),
    [
        ("", ["a"], "pipeline ''"),
        ("p", ["a", ""], "pipeline 'p', step 2 has no name"),
        ("p", ["a", " \t"], "step 2 has no name"),
        ("p", ["a", "b", "a"], "step 3: 'a' is there twice"),
        ("p", ["nul\0", "nul\\x00"], "step 2.*is there twice"),
    ],
)
def test_what_no_event_can_be_named_is_refused(pipeline: str, steps: list[str], message: str) -> None:
    """A name that no event could ever have is refused, with its place: nothing would ever be complete."""
    with pytest.raises(BadDeclaration, match=message) as caught:
        check_declaration(pipeline, steps)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("step", ["x" * 1025, "字" * 400, "nul\0", "lone \ud800"])
def test_a_name_is_declared_as_its_events_are_stored(step: str) -> None:
    """Cut and spelled out as emitters do it, so that the document becomes complete."""
    assert check_declaration("p", [step, "b"]) == (stored_name(step), "b")


@pytest.mark.parametrize("steps", ["fetch", b"fetch", None, 5, ["a", 5], ["a", None]])
def test_wrong_types_are_named(steps: Any) -> None:
    """One string is not a list of names, and a name is a string."""
    with pytest.raises(TypeError, match=r"'p'.* must be .* not (str|bytes|NoneType|int)"):
        check_declaration("p", steps)


FILE = """\
# What our documents go through.
[expected_steps]
invoices = ["fetch", "ocr", "index"]  # in this order
"letters/in" = [
    "scan",
    "ocr",
]
old = []
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    """A table with a list of names for each pipeline, with either kind of line ends."""
    expected = {"invoices": ("fetch", "ocr", "index"), "letters/in": ("scan", "ocr"), "old": ()}
    for text in (FILE, FILE.replace("\n", "\r\n")):
        path = tmp_path / "steps.toml"
        path.write_bytes(text.encode())
        assert read_expected_steps(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE + 'ok = ["a"]\nbad = "fetch"\n', r"f\.toml, line 10, expected_steps\.bad: expected a list.*not str"),
        (FILE + 'bad = [\n  "a",\n  5,\n]\nok = ["a"]\n', r"line 9, expected_steps\.bad: .*step 2 must be a name"),
        (FILE + '\n\nbad = ["a", "b", "a"]', r"line 11, expected_steps\.bad: .*step 3: 'a' is there twice"),
        (FILE + '"" = ["a"]', r"line 9, expected_steps\.: pipeline ''"),
        (FILE + 'a.b = ["x"]', r"line 9, expected_steps\.a: .*a dot is written in quotes"),
        (FILE + "[more]\nx = 1\n", r"line 9, more: .*there is one table, \[expected_steps\]"),
        ('invoices = ["a"]\n', r"line 1, invoices: .*there is one table"),
        ('expected_steps = ["a"]\n', r"line 1, expected_steps: .* is not a table; write for instance"),
        ("[expected_steps]\n", r"f\.toml declares nothing"),
        ("", r"f\.toml declares nothing"),
        (FILE + 'x = ["a",\n', r"f\.toml, line 9: is not TOML: Invalid value.*'x = \[\"a\",'"),
        (FILE + "invoices = []", r"f\.toml, line 9: is not TOML: Cannot overwrite.*'invoices = \[\]'"),
        ('[expected_steps]\na = ["b"\nc = 1\n', r"f\.toml, line 3: is not TOML: Unclosed array.*'c = 1'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_by_line_and_key(text: str, message: str) -> None:
    """Whatever is wrong with a file, the error names the file, and the line and the key where there is one."""
    with pytest.raises(BadDeclaration, match=message):
        parse_expected_steps(text, "f.toml")


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    """Each with its line and key."""
    with pytest.raises(BadDeclaration) as caught:
        parse_expected_steps('a = 1\n[expected_steps]\nb = 2\nc = [3]\nd = ["x"]\n', "f.toml")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "f.toml, line 1, a",
        "f.toml, line 3, expected_steps.b",
        "f.toml, line 4, expected_steps.c",
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """No file, a folder, no text: one kind of error."""
    with pytest.raises(BadDeclaration, match=r"none\.toml cannot be read: No such file"):
        read_expected_steps(tmp_path / "none.toml")
    with pytest.raises(BadDeclaration, match="cannot be read: Is a directory"):
        read_expected_steps(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(BadDeclaration, match="is not UTF-8 at byte 2"):
        read_expected_steps(tmp_path / "latin.toml")
