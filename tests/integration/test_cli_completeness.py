"""The commands that declare expected steps and tell which documents lack some, on a real store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steptrail.deploy.terminal.failures import NO, OK, UNREACHABLE, USAGE
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from support.command_line import Command, command_line
from support.projected import T0, Tables, event
from support.stack import Stack, new_workspace


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """A store with documents at several points of their way; one of them moved just now."""
    just_now = int(time.time() * 1e6) - T0
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        events = [
            event(S.SUCCESS, 1_000, doc_id=doc_id, step_name="fetch", pipeline="ocr")
            for doc_id in ("i-1", "i-2", "i-3", "i-4")
        ]
        events += [
            event(S.SUCCESS, 2_000, doc_id="i-1", step_name="[bold]ocr", pipeline="ocr", execution=2),
            event(S.ERROR, 2_000, doc_id="i-2", step_name="[bold]ocr", pipeline="ocr", execution=2),
            event(S.RUNNING, just_now, doc_id="i-3", step_name="[bold]ocr", pipeline="ocr", execution=2),
            event(S.SUCCESS, 2_000, doc_id="i-4", step_name="[bold]ocr", pipeline="ocr", execution=2),
            event(S.SUCCESS, 3_000, doc_id="i-4", step_name="extra", pipeline="ocr", execution=3),
            event(S.SUCCESS, 1_000, doc_id="i-1", step_name="load", pipeline="etl"),
        ]
        Tables(clickhouse).write(events)
        yield settings


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line on that store, in which nothing is declared yet: its exit code and what it wrote."""
    with connect(settings) as clickhouse:
        clickhouse.command("TRUNCATE TABLE expected_steps_declarations")
    return command_line(settings, monkeypatch, capsys)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_expect_declares_once(command: Command) -> None:
    """A declaration is shown as news, the same again is not; --list shows what holds, --nothing takes it back."""
    code, out, err = command("expect", "--list")
    assert (code, out) == (OK, "")
    assert "No steps are declared for any pipeline" in err
    for declared_now in (True, False):
        code, out, _ = command("expect", "ocr", "fetch", "[bold]ocr", "--yes", "--json")
        assert code == OK
        (told,) = lines(out)
        assert (told["pipeline"], told["steps"]) == ("ocr", ["fetch", "[bold]ocr"])
        assert told["declared_now"] is declared_now
    assert "fetch, [bold]ocr" in command("expect", "ocr", "fetch", "[bold]ocr", "--yes")[1]
    command("expect", "etl", "load", "--yes")
    assert [told["pipeline"] for told in lines(command("expect", "--list", "--json")[1])] == ["etl", "ocr"]
    assert [told["pipeline"] for told in lines(command("expect", "ocr", "--list", "--json")[1])] == ["ocr"]
    code, out, err = command("expect", "etl", "--nothing", "--yes")
    assert (code, out) == (OK, "")
    assert "Nothing is expected of pipeline etl any more" in err
    assert lines(command("expect", "etl", "--nothing", "--yes", "--json")[1]) == [
        {"pipeline": "etl", "steps": [], "declared_at": None, "declared_now": False, "dry_run": False}
    ]
    assert "ocr" in command("expect", "--list")[1]


def test_expect_from_a_file(command: Command, tmp_path: Path) -> None:
    """A file declares all that it names and nothing else, or, where a line of it is wrong, nothing."""
    command("expect", "other", "x", "--yes")
    file = tmp_path / "steps.toml"
    file.write_text('[expected_steps]\nocr = ["fetch", "[bold]ocr"]\netl = ["load"]\n')
    code, out, _ = command("expect", "--file", str(file), "--yes", "--json")
    assert code == OK
    assert [(told["pipeline"], told["declared_now"]) for told in lines(out)] == [("etl", True), ("ocr", True)]
    file.write_text('[expected_steps]\nocr = ["new"]\netl = ["load", ""]\n')
    code, out, err = command("expect", "--file", str(file), "--yes")
    assert (code, out) == (USAGE, "")
    assert "steps.toml, line 3, expected_steps.etl: pipeline 'etl', step 2 has no name" in err
    told = {each["pipeline"]: each["steps"] for each in lines(command("expect", "--list", "--json")[1])}
    assert told == {"ocr": ["fetch", "[bold]ocr"], "etl": ["load"], "other": ["x"]}


def test_doc_says_how_complete_a_document_is(command: Command) -> None:
    """One line for each pipeline that declared its steps, with what is failed, open, missing or too much."""
    assert "expected steps" not in command("doc", "i-1")[1]
    assert json.loads(command("doc", "i-1", "--json")[1])["completeness"] == []
    command("expect", "ocr", "fetch", "[bold]ocr", "--yes")
    assert "complete: 2 of 2 expected steps done" in command("doc", "i-1", "-p", "ocr")[1]
    assert "in pipeline ocr complete: 2 of 2" in command("doc", "i-1")[1]
    assert "incomplete: 1 of 2 expected steps done; failed: [bold]ocr" in command("doc", "i-2")[1]
    assert "incomplete: 1 of 2 expected steps done; unfinished: [bold]ocr" in command("doc", "i-3")[1]
    assert "unexpected: 2 of 2 expected steps done; unexpected: extra" in command("doc", "i-4")[1]
    command("expect", "ocr", "fetch", "index", "--yes")
    (told,) = json.loads(command("doc", "i-2", "--json")[1])["completeness"]
    assert (told["pipeline"], told["state"]) == ("ocr", "incomplete")
    assert (told["done"], told["missing"], told["unexpected"]) == (["fetch"], ["index"], ["[bold]ocr"])


def test_incomplete_lists_documents(command: Command) -> None:
    """Incomplete ones by pipeline and id, in pages; those that are still moving and unexpected ones as asked."""
    command("expect", "ocr", "fetch", "[bold]ocr", "--yes")
    command("expect", "etl", "load", "store", "--yes")

    def listed(*argv: str) -> list[tuple[str, str]]:
        code, out, _ = command("incomplete", "--json", *argv)
        assert code == OK
        return [(told["pipeline"], told["doc_id"]) for told in lines(out)]

    assert listed() == [("etl", "i-1"), ("ocr", "i-2"), ("ocr", "i-3")]
    assert listed("--pipeline", "ocr") == [("ocr", "i-2"), ("ocr", "i-3")]
    assert listed("--quiet", "10m") == [("etl", "i-1"), ("ocr", "i-2")]
    assert listed("-p", "ocr", "--unexpected") == [("ocr", "i-2"), ("ocr", "i-3"), ("ocr", "i-4")]
    first = lines(command("incomplete", "--limit", "1", "--json")[1])
    assert listed("--after", first[0]["cursor"]) == [("ocr", "i-2"), ("ocr", "i-3")]
    code, out, err = command("incomplete", "--limit", "2")
    assert code == OK
    assert "store" in out
    assert "[bold]ocr" in out
    assert "2 documents." in err
    assert "There are more: --limit, or --after " in err
    command("expect", "ocr", "fetch", "--yes")
    code, out, _ = command("incomplete", "-p", "ocr")
    assert (code, out) == (OK, "No incomplete document in pipeline ocr.\n")


def test_nothing_declared_is_not_everything_complete(command: Command) -> None:
    """Without a declaration the answer is not an empty list but that nobody can say."""
    code, out, err = command("incomplete")
    assert (code, out) == (NO, "")
    assert "no steps are declared for any pipeline" in err
    command("expect", "ocr", "fetch", "--yes")
    code, _, err = command("incomplete", "--pipeline", "ocrr", "--json")
    assert code == NO
    assert json.loads(err)["error"] == "unknown_pipeline"


def test_a_database_without_tables_is_told(
    stack: Stack, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands say which command creates the tables."""
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", stack.with_database("never_migrated"))
    for argv in (["expect", "p", "a"], ["expect", "--list"], ["incomplete"]):
        code, _, err = command(*argv)
        assert code == UNREACHABLE
        assert "steptrail migrate" in err
