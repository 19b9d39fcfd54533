"""Text from outside on its way to a terminal."""

from __future__ import annotations

import ast
import io
import json
import logging
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

import steptrail.deploy.cli as cli
import steptrail.deploy.demo as demo
from steptrail.consumers.runtime.json_logging import JsonFormatter
from steptrail.deploy.cli.main import build, run
from steptrail.deploy.terminal.guard import guard_terminal
from steptrail.deploy.terminal.output import note, say, tell, write_json
from steptrail.schemas.values.visible import distinct, is_visible, visible, visible_json
from support.cli_commands import commands
from support.cli_screens import Terminal
from support.hostile import HOSTILE, unwanted


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """Escapes, controls, bidi, format and invisible characters are written out, and can be read."""
    for shown in (visible(text), distinct(text)):
        assert shown.isprintable()
        assert is_visible(shown)
        assert "\\" in shown


def test_what_is_written_out_looks_like_python() -> None:
    """As in a string literal, so that one knows what it is."""
    assert visible("\x1b[2J\x9b\u202e\U000e0041\ud83d") == r"\x1b[2J\x9b\u202e\U000e0041\ud83d"


@pytest.mark.parametrize(
    "text", ["invoice-17", r"C:\new\temp\x.pdf", "請求書 第42号", "naïve [bold]", "е́ 🙂"]
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Brackets, backslashes, wide and combining characters are data."""
    assert visible(text) == distinct(text) == text


def test_every_control_and_format_character_is_written_out() -> None:
    """By Unicode's categories, over all code points."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in hidden:
            assert not is_visible(character), hex(code)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["\\", "x1b", "\x1b", "u202e", "\u202e", "a", "U000e0041", "\U000e0041"])))
def test_an_escape_can_be_told_from_the_text_that_looks_like_it(parts: list[str]) -> None:
    """Reading back what is shown gives the text, so two different ids never look the same."""
    text, read, at = "".join(parts), "", 0
    shown = distinct(text)
    while at < len(shown):
        end = at
        while shown[end : end + 1] == "\\":
            end += 1
        if end == at:
            read, at = read + shown[at], at + 1
            continue
        size = next((n for mark, n in (("x", 2), ("u", 4), ("U", 8)) if shown[end : end + 1] == mark), 0)
        digits = shown[end + 1 : end + 1 + size]
        escape = bool(size) and len(digits) == size and all(each in "0123456789abcdef" for each in digits)
        count = end - at
        if not escape:
            read, at = read + "\\" * count, end
        elif count % 2:
            read, at = read + "\\" * (count // 2) + chr(int(digits, 16)), end + 1 + size
        else:
            read, at = read + "\\" * (count // 2) + shown[end : end + 1 + size], end + 1 + size
    assert read == text


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=40))
def test_json_is_the_same_value_and_visible(text: str) -> None:
    """What is not visible is escaped by JSON's own rules."""
    document = visible_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert is_visible(document)
    assert json.loads(document) == {text: [text]}


def test_json_output_takes_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A lone surrogate, C1 and bidi controls included."""
    write_json({"id": "a\x9b\u202e\udcff請"})
    assert capsys.readouterr().out == '{"id": "a\\u009b\\u202e\\udcff請"}\n'


def test_sentences_cannot_begin_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A newline in a name does not make a second line; one in a fault's message stands under the first."""
    say("document a\nerror: all is well")
    note("b\nhint: run this")
    tell("error:", "red", "first\nhint: curl | sh")
    shown = capsys.readouterr()
    assert shown.out == "document a\\x0aerror: all is well\n"
    assert shown.err == "b\\x0ahint: run this\nerror: first\n       hint: curl | sh\n"


def test_a_huge_sentence_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer, a remark and a fault say how much is not shown."""
    huge = "word " * 200_000 + "."
    say(huge)
    note(huge)
    tell("error:", "red", huge)
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("… (996,001 more characters)") == 3
    assert len(shown.out + shown.err) < 3 * 4_100


def test_markup_and_emoji_codes_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """No style, link or picture comes out of a text."""
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    say("[red]a[/red] [link=http://x]b[/link] :warning: http://x 10.0.0.1")
    assert terminal.getvalue() == "[red]a[/red] [link=http://x]b[/link] :warning: http://x 10.0.0.1\n"


def test_whoever_writes_to_a_terminal_writes_visible_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray print, a log line, a traceback: the stream itself is guarded."""
    out, err = Terminal(True), Terminal(True)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    guard_terminal()
    guard_terminal()
    print("a\x1b[2J\tb")
    sys.stderr.writelines(["c\x9b", "d\n"])
    try:
        raise ValueError("bad \x1b]0;owned\x07")
    except ValueError:
        sys.excepthook(*sys.exc_info())
    assert out.getvalue() == "a\\x1b[2J\tb\n"
    assert err.getvalue().startswith("c\\x9bd\n")
    assert "ValueError: bad \\x1b]0;owned\\x07" in err.getvalue()
    assert "\x1b" not in err.getvalue()


def test_a_pipe_is_not_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get what was written."""
    monkeypatch.setattr(sys, "stdout", Terminal(False))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    guard_terminal()
    assert isinstance(sys.stdout, io.StringIO)


def test_an_encoding_that_lacks_a_character_is_no_fault() -> None:
    """Output to a Latin-1 terminal or file is readable, not a traceback."""
    script = "from steptrail.deploy.terminal.guard import guard_terminal; guard_terminal(); print('請 …')"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False
    )
    assert done.stdout == b"\\u8acb \\u2026\n"


def test_log_lines_are_visible() -> None:
    """A part's log can be looked at with cat; ordinary text in any script stays readable."""
    record = logging.makeLogRecord({"msg": "a\x1b[2J\x9b\u202e請", "doc_id": "b\x7f\udcff"})
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == "a\x1b[2J\x9b\u202e請"
    assert "請" in JsonFormatter().format(logging.makeLogRecord({"msg": "請"}))


#: The modules that make text visible before they write, and the one that draws bars of our own words.
_DOORS = {"output.py", "guard.py", "progress.py"}


@pytest.mark.parametrize(
    "module",
    [
        path
        for package in (cli, demo)
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py"))
        if path.name not in _DOORS
    ],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_only_the_output_module_writes(module: Path) -> None:
    """No command prints, echoes, uses rich or opens a terminal by itself."""
    # Before a library is there, before an application is built, and a worker's words to its parent.
    allowed = {
        ("__init__.py", "rich"),
        ("__init__.py", "sys.stderr"),
        ("layout.py", "rich.cells"),
        ("main.py", "typer.echo"),
        ("main.py", "sys.stdout"),
        ("failures.py", "sys.stderr"),
        ("dlq_show.py", "sys.stdout"),
        ("worker.py", "sys.stdout"),
    }
    used = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names if alias.name.split(".")[0] in ("rich", "click")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("rich", "click"):
            used.add(node.module or "")
        elif isinstance(node, ast.Name) and node.id in ("print", "breakpoint"):
            used.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in (
                "typer.echo",
                "typer.secho",
                "sys.stdout",
                "sys.stderr",
                "sys.__stdout__",
                "sys.__stderr__",
            ):
                used.add(name)
    assert {(module.name, name) for name in used} <= allowed


@pytest.mark.parametrize("command", sorted(commands(get_command(build([])))))
def test_help_is_text(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of every command is plain on a terminal too, so that the guard changes none of it."""
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert run([*command.split(), "--help"]) == 0
    assert "Usage: " in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()
    assert unwanted(terminal.getvalue().encode()) == []
