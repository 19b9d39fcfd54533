"""The commands that list what is and what was, on a real store with documents in every state."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steptrail.deploy.terminal.failures import NO, OK, USAGE
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.stores.expected_steps import declare_expected_steps
from steptrail.schemas.configuration.settings import Settings
from support.command_line import Command, command_line
from support.effort import ONLY_IN_TEST_ALL, only_some
from support.every_state import HOSTILE, documents_in_every_state
from support.stack import Stack
from support.waiting import until

FAILING = {*(f"scan_{n:04d}.pdf" for n in (0, 1, 2, 3, 4, 6)), HOSTILE}
CLI = [sys.executable, "-m", "steptrail.deploy.cli"]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    with documents_in_every_state(stack) as settings:
        yield settings


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line on that store: its exit code and what it wrote."""
    return command_line(settings, monkeypatch, capfd)


def lines(command: Command, *argv: str) -> list[dict[str, Any]]:
    code, out, err = command(*argv, "--json")
    assert code == OK, err
    return [json.loads(line) for line in out.splitlines()]


def about(command: Command, *argv: str) -> dict[str, Any]:
    """What a command says of its whole list."""
    told: dict[str, Any] = json.loads(command(*argv, "--json")[2])
    return told


def test_failing_lists_what_is_failing_now(command: Command) -> None:
    """Not what a retry mended; each with its last error, the latest failure first."""
    found = lines(command, "failing")
    assert {each["doc_id"] for each in found} == FAILING
    assert [each["failed_at"] for each in found] == sorted(
        (each["failed_at"] for each in found), reverse=True
    )
    assert [each["doc_id"] for each in lines(command, "failing", "--status", "failed")] == ["scan_0006.pdf"]
    told = about(command, "failing", "--by-step")
    assert (told["documents"], told["can_be_retried"], told["behind_events"]) == (7, 6, 0)
    code, out, err = command("failing", "--step", "ocr")
    assert code == OK
    assert "unsupported macro container" in out
    assert "6 failing steps; 5 can be retried (ERROR), 1 not (FAILED)." in err
    assert "Everything up to" in err


def test_what_has_ended_within_another_time_is_not_listed(command: Command) -> None:
    """--since and --until, relative and absolute, are about the last failure."""
    assert lines(command, "failing", "--until", "2020-01-01") == []
    assert lines(command, "failing", "--until", "1h") == []
    assert len(lines(command, "failing", "--since", "2020-01-01T00:00Z")) == 7
    code, out, err = command("failing", "--since", "1h", "--until", "2h")
    assert (code, out) == (USAGE, "")
    assert "--since 1h is not before --until 2h" in err


def test_in_progress_lists_what_runs_and_what_waits(command: Command) -> None:
    """Of each document and step what it is in now."""
    found = {(each["doc_id"], each["status"]) for each in lines(command, "in-progress")}
    assert found == {("scan_0007.pdf", "RUNNING"), ("waits.pdf", "PENDING")}
    assert [each["doc_id"] for each in lines(command, "in-progress", "--status", "pending")] == ["waits.pdf"]
    assert command("in-progress", "--stalled")[1] == "Nothing is known to be stuck.\n"


def test_documents_by_state_by_time_and_by_name(command: Command) -> None:
    """Each once, in both orders; a state, a prefix and a limit choose."""
    recent, by_name = lines(command, "documents"), lines(command, "documents", "--by-name")
    assert len(recent) == 32
    assert sorted(each["doc_id"] for each in recent) == [each["doc_id"] for each in by_name]
    chosen = lines(command, "documents", "--status", "FAILED", "--status", "running")
    assert {each["doc_id"] for each in chosen} == {"scan_0006.pdf", "scan_0007.pdf"}
    assert len(lines(command, "documents", "--prefix", "scan_001")) == 10


@pytest.mark.parametrize(
    "argv", only_some(["failing"], ["documents", "--by-name"], rest=[["in-progress"], ["documents"]])
)
def test_pages_together_are_the_list(command: Command, argv: list[str]) -> None:
    """`next` of one is --after of the following one; nothing twice, nothing left out."""
    whole, found = lines(command, *argv), []
    after: list[str] = []
    for _ in range(len(whole)):
        code, out, err = command(*argv, "--limit", "3", *after, "--json")
        assert code == OK
        found += [json.loads(line) for line in out.splitlines()]
        following = json.loads(err)["next"]
        if following is None:
            break
        after = ["--after", following]
    assert found == whole


def test_steps_throughput_and_waits(command: Command) -> None:
    """How each step fares now, over time, and how long documents wait."""

    def ocr() -> dict[str, Any]:
        return next(each for each in lines(command, "steps") if each["step_name"] == "ocr")

    until(lambda: ocr()["ended"] == 30, "thirty counted endings")
    now = ocr()
    assert (now["failing_documents"], now["can_be_retried"], now["running"]) == (6, 5, 1)
    assert now["error_ratio"] == pytest.approx(7 / 30)
    points = lines(command, "throughput", "--step", "ocr")
    assert sum(point["ended"] for point in points) == 30
    assert {point["step_name"] for point in lines(command, "throughput", "--by-step")} == {"fetch", "ocr"}
    assert about(command, "throughput", "--since", "1d", "--bucket", "1h")["bucket_seconds"] == 3600
    assert command("throughput", "--bucket", "7m")[0] == USAGE
    found = {(each["step_name"], each["after_step"]) for each in lines(command, "waits")}
    assert found == {("ocr", "fetch"), ("ocr", "ocr")}
    for argv in (["steps"], ["throughput"], ["waits"]):
        code, out, _ = command(*argv)
        assert code == OK
        assert "P95" in out


def test_search_by_whatever_is_in_hand(command: Command) -> None:
    """Part of a name, of a message, an execution; a text that begins with a dash after `--`."""
    assert {e["doc_id"] for e in lines(command, "search", "AN_0003", "-k", "documents")} == {"scan_0003.pdf"}
    assert about(command, "search", "NO ANSWER from")["matched_errors"] == 6
    event = lines(command, "failing")[0]
    [execution] = lines(command, "search", event["execution_id"], "--kind", "executions")
    assert execution["doc_id"] == event["doc_id"]
    assert command("search", "--", "--nothing like it")[:2] == (OK, "Nothing was found.\n")
    assert command("search", "x")[0] == USAGE
    assert command("search", "scan", "--kind", "things")[0] == USAGE


def test_losses_of_workers(command: Command) -> None:
    """Nobody lost anything here; every worker is listed when asked for."""
    assert lines(command, "losses") == []
    [worker] = lines(command, "losses", "--all")
    assert worker["accepted"] == worker["arrived"] > 100
    assert about(command, "losses")["dead_letters_open"] == 3


@pytest.mark.parametrize(
    "argv",
    only_some(
        ["failing"], ["steps"], ["search", "scan"], ["export", "events"],
        rest=[["failing", "--by-step"], ["in-progress"], ["documents"], ["throughput"], ["waits"], ["losses"]],
    ),
    ids=" ".join,
)  # fmt: skip
def test_a_misspelt_pipeline_is_told_with_near_names(command: Command, argv: list[str]) -> None:
    """Exit code 1: an empty list would be believed."""
    code, out, err = command(*argv, "--pipeline", "invoice", "--json")
    assert (code, out) == (NO, "")
    told = json.loads(err)
    assert (told["error"], told["near"]) == ("unknown_pipeline", ["invoices"])


def test_a_misspelt_step_is_told_with_near_names(command: Command) -> None:
    code, _, err = command("failing", "--step", "ocrr", "--json")
    assert (code, json.loads(err)["near"]) == (NO, ["ocr"])


# --- export -----------------------------------------------------------------------------------------------------


def test_events_are_the_same_in_every_format(command: Command, settings: Settings, tmp_path: Path) -> None:
    """Each once, in a file whose ending names the format."""
    import pyarrow.parquet

    with connect(settings) as clickhouse:
        [(count,)] = clickhouse.query("SELECT uniqExact(event_id) FROM steps")
    for form in ("parquet", "csv", "jsonl"):
        code, out, err = command("export", "events", "-o", str(tmp_path / f"events.{form}"), "--json")
        assert (code, out) == (OK, ""), err
        told = json.loads(err)
        assert told["rows"] == (None if form == "parquet" else count)
        assert told["bytes"] == (tmp_path / f"events.{form}").stat().st_size
    table = pyarrow.parquet.read_table(tmp_path / "events.parquet")
    text = (tmp_path / "events.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    objects = [
        json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    ids = {each["event_id"] for each in objects}
    assert len(ids) == len(objects) == len(rows) == table.num_rows == count
    assert {row["event_id"] for row in rows} == set(table.column("event_id").to_pylist()) == ids
    assert HOSTILE in {row["doc_id"] for row in rows}


def test_errors_and_executions_by_step_and_status(command: Command) -> None:
    """To standard output, too."""
    _, out, _ = command("export", "errors", "--step", "ocr")
    assert sorted(json.loads(line)["doc_id"] for line in out.splitlines()) == [
        f"scan_{n:04d}.pdf" for n in range(7)
    ]
    _, out, _ = command("export", "executions", "--step", "ocr")
    executions = [json.loads(line) for line in out.splitlines()]
    assert len(executions) == len({each["execution_id"] for each in executions}) == 31
    assert sorted(each["status"] for each in executions).count("ERROR") == 6
    _, out, _ = command("export", "executions", "--status", "running", "--format", "csv")
    [row] = csv.DictReader(io.StringIO(out))
    assert (row["doc_id"], row["status"]) == ("scan_0007.pdf", "RUNNING")
    assert command("export", "events", "--until", "2020-01-01", "--since", "2019-01-01")[1] == ""


@pytest.mark.parametrize(
    "what", ["failing", "in-progress", "documents", "steps", "throughput", "waits", "error-groups", "losses",
             "emitters", "dead-letters", "incomplete"],
)  # fmt: skip
def test_every_list_is_written_as_csv_and_json_lines(command: Command, what: str) -> None:
    """The same rows in both."""
    code, out, _ = command("export", what)
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == OK
    assert objects
    _, out, _ = command("export", what, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(out, newline="")))) == len(objects)


@pytest.mark.parametrize(
    "what", only_some("events", "failing", rest=["errors", "executions", "documents", "incomplete"])
)
def test_a_spreadsheet_finds_no_formula_in_csv(what: str, command: Command, settings: Settings) -> None:
    """Whatever a worker sent, in every list; JSON lines have the text as it is."""
    starts = ("=", "+", "-", "@", "\t", "\n", "\uff1d")
    with connect(settings) as clickhouse:
        declare_expected_steps(clickhouse, "formulas", ["=1+1", "store"])
    with ProcessingStepManager(open_storage(settings, pipeline="formulas")) as manager:
        for start in starts:
            manager.add_step(f"{start}1+1", "=1+1", "ERROR", error_message=f"{start}cmd|x")
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
    chosen = ("export", what, "--pipeline", "formulas")
    _, out, _ = command(*chosen, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert {row["doc_id"] for row in rows} == {f"'{start}1+1" for start in starts}
    assert not any(cell.startswith(starts) for row in rows for cell in row.values())
    _, out, _ = command(*chosen, "--format", "jsonl")
    assert {json.loads(line)["doc_id"] for line in out.splitlines()} == {f"{start}1+1" for start in starts}


def test_a_file_is_not_written_over_unless_forced(command: Command, tmp_path: Path) -> None:
    """Nor is anything left of the attempt."""
    file = tmp_path / "failing.csv"
    file.write_text("mine", encoding="utf-8")
    code, _, err = command("export", "failing", "-o", str(file))
    assert (code, file.read_text(encoding="utf-8")) == (NO, "mine")
    assert "exists already" in err
    assert "--force" in err
    assert command("export", "failing", "-o", str(file), "--force")[0] == OK
    assert file.read_text(encoding="utf-8").startswith("pipeline,")
    assert command("export", "failing", "-o", str(tmp_path / "no" / "f.csv"))[0] == NO
    assert command("export", "failing", "-o", str(tmp_path))[0] == USAGE
    assert os.listdir(tmp_path) == ["failing.csv"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["event"], "there is no list 'event'"),
        (["failing", "--format", "parquet"], "failing do not come as Parquet"),
        (["events", "--format", "xml"], "'xml' is no format"),
        (["losses", "--step", "ocr"], "losses are not by step"),
        (["failing", "--status", "error"], "failing are not chosen by status"),
    ],
)
def test_what_cannot_be_exported_is_told(command: Command, argv: list[str], message: str) -> None:
    """An option is never silently without effect."""
    code, out, err = command("export", *argv)
    assert (code, out) == (USAGE, "")
    assert message in err


# --- what the pages print ------------------------------------------------------------------------------------------


@ONLY_IN_TEST_ALL
def test_the_commands_that_the_pages_print_run_as_printed(settings: Settings, command: Command) -> None:
    """Each `command` of each panel's menu, also where names need quoting."""
    from html import unescape
    from urllib.parse import urlencode

    from support.web import serving

    step = urlencode({"pipeline": "invoices", "step": "ocr"})
    paths = [
        "/", "/failing", "/failing?" + step, "/documents", "/documents?state=FAILED&since=6h", "/errors", "/steps",
        "/steps/one?" + step, "/search?q=no+answer&pipeline=invoices", "/search?q=--help", "/operations",
        "/document?" + urlencode({"pipeline": "invoices", "doc": "scan_0003.pdf"}),
        "/document?" + urlencode({"pipeline": "invoices", "doc": HOSTILE}),
        "/?pipeline=invoices&since=6h", "/documents?since=2026-05-04T12:00:00Z&until=2026-05-04T13:00:00Z",
    ]  # fmt: skip
    printed: set[str] = set()
    with serving(settings) as api:
        until(lambda: api.get("/alerts").status == 200, "what the topics of alerting hold")
        groups = api.get("/error-groups").json["items"]
        for path in [*paths, f"/errors/{groups[0]['group_id']}"]:
            reply = api.get("/" + path)
            assert reply.status == 200, path
            texts = map(unescape, re.findall(r"<pre>(steptrail .*?)</pre>", reply.body.decode(), re.DOTALL))
            printed |= set(texts)
    words = {shlex.split(text)[1] for text in printed}
    assert {
        "failing",
        "documents",
        "steps",
        "search",
        "doc",
        "groups",
        "health",
        "alerts",
        "dlq",
        "losses",
    } <= words
    for text in sorted(printed):
        code, out, err = command(*shlex.split(text)[1:])
        assert code in (OK, *([1, 2, 3] if shlex.split(text)[1] == "health" else [])), (text, err)
        assert out, text
