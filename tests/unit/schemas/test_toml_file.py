"""Configuration files checked by pydantic: every mistake at once, with its line, its key and what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from steptrail.schemas.configuration.toml_file import Clashes, Found, Table, TomlFileError, parse
from steptrail.schemas.configuration.toml_values import Glob, number, seconds, whole


class Round(Table):
    shape: Literal["round"]
    radius: Annotated[float, number(1, 5)] = 1.0


class Square(Table):
    shape: Literal["square"]
    side: Annotated[int, whole(1, 5)] = 1

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        if "hidden" in found:
            yield (), "hides something"


class File(Table):
    name: Glob
    on: bool = True
    wait: Annotated[float, seconds(1, 3600)] = 60.0
    sizes: dict[str, str] = Field(default_factory=dict)
    piece: list[Annotated[Round | Square, Field(discriminator="shape")]] = Field(default_factory=list)


class FileError(TomlFileError):
    consequence = "Nothing changes."


class SecretFileError(TomlFileError):
    quotes_lines = False


def mistakes(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(FileError) as raised:
        parse(text, File, source="f.toml", error=FileError)
    assert str(raised.value).endswith("\nNothing changes.")
    return [(each.line, each.key, each.what) for each in raised.value.mistakes]


@pytest.mark.parametrize(
    ("line", "key", "what"),
    [
        ("nam = 1", "nam", "is not known here; known are name, on, wait, sizes, piece; did you mean name?"),
        ("name = 1", "name", '1 is not a name or a glob such as "ocr*"'),
        ("on = 'yes'", "on", "'yes' is neither true nor false"),
        ("wait = '10 minutes'", "wait", "'10 minutes' is not a duration such as \"10s\", \"5m\" or \"1h30m\""),
        ("wait = '10h'", "wait", "'10h' is not between 1s and 1h"),
        ("wait = inf", "wait", 'inf is not a duration such as "10s", "5m" or "1h30m"'),
        ("sizes = 3", "sizes", "3 is not a table; write for instance sizes.… = …"),
        ("sizes.a = 3", "sizes.a", "3 is not a text"),
        ("piece = { shape = 'round' }", "piece", "write it as [[piece]], with two brackets"),
        ("piece = [{ radius = 1 }]", "piece[1].shape", "is missing"),
        ("piece = [{ shape = 'rond' }]", "piece[1].shape",
         "'rond' is neither \"round\" nor \"square\"; did you mean round?"),
        ("piece = [{ shape = 'round', side = 1 }]", "piece[1].side", "is not known here; known are shape, radius"),
        ("piece = [{ shape = 'round', radius = true }]", "piece[1].radius", "True is not a number"),
        ("piece = [{ shape = 'round', radius = 9 }]", "piece[1].radius", "9 is not between 1 and 5"),
        ("piece = [{ shape = 'square', side = 1.5 }]", "piece[1].side", "1.5 is not a whole number between 1 and 5"),
        ("piece = [3]", "piece[1]", "3 is not a table"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_was_found_and_what_is_allowed(line: str, key: str, what: str) -> None:
    """By its line and key, as the file writes them."""
    name = [] if line.startswith("name") else ['name = "x"']
    found = mistakes("\n".join(["# a file", *name, line]))
    assert len(found) == 1
    assert found[0][:2] == (2 + len(name), key)
    assert what in found[0][2]


def test_all_mistakes_are_named_at_once() -> None:
    """Those of single values and those between keys, and what is missing, in the order of the lines."""
    text = (
        "on = 1\nwait = 'x'\n[[piece]]\nshape = 'square'\nside = 9\nhidden = 1\n[[piece]]\nshape = 'cube'\n"
    )
    assert [(line, key) for line, key, _ in mistakes(text)] == [
        (None, "name"),
        (1, "on"),
        (2, "wait"),
        (3, "piece[1]"),
        (5, "piece[1].side"),
        (6, "piece[1].hidden"),
        (8, "piece[2].shape"),
    ]


@pytest.mark.parametrize("value", ["1" * 5000, "0x" + "f" * 5000, "1e999", "[" * 10_000, "2026-99-99"])
def test_a_value_that_python_cannot_hold_is_a_mistake(value: str) -> None:
    """Not a traceback, and not a message of thousands of digits."""
    with pytest.raises(FileError) as raised:
        parse(f"name = 'x'\nwait = {value}", File, source="f.toml", error=FileError)
    assert len(str(raised.value)) < 500


def test_a_line_that_may_hold_a_secret_is_not_shown() -> None:
    """Where the text is not TOML, the line is shown, unless files of the kind hold secrets."""
    for error, shown in ((FileError, True), (SecretFileError, False)):
        with pytest.raises(error) as raised:
            parse("url = 'https://hush", File, source="f.toml", error=error)
        assert ("hush" in str(raised.value)) is shown
        assert "f.toml, line 1: is not TOML" in str(raised.value)


def test_lines_are_counted_as_editors_count_them() -> None:
    """A text may hold characters that end a line elsewhere, but not in TOML."""
    assert mistakes("name = 'x\u2028y\x85z'\n\non = 1\n")[0][:2] == (3, "on")
    assert mistakes("name = 'x'\r\n\r\non = 1\r\n")[0][:2] == (3, "on")
