"""The reading commands on a real store, with what a real projector put there."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.deploy.terminal.failures import NO, OK, REFUSED, UNREACHABLE, USAGE
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.schemas import ProcessingStatus
from steptrail.schemas.configuration.settings import Settings
from support.command_line import Command, command_line
from support.contract_fixtures import observation
from support.projecting import projecting
from support.stack import Stack, new_workspace
from support.waiting import until


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """A store with two pipelines, documents that went well and one that did not."""
    with new_workspace(stack) as settings, projecting(settings):
        for pipeline in ("ocr", "etl"):
            with ProcessingStepManager(open_storage(settings, pipeline=pipeline)) as manager:
                manager.add_step("invoice-17", "read", ProcessingStatus.RUNNING)
                manager.add_step("invoice-17", "read", ProcessingStatus.SUCCESS, details={"pages": 3})
                if pipeline == "ocr":
                    manager.add_step("invoice-17", "ocr", "RUNNING")
                    manager.add_step("invoice-17", "ocr", "ERROR", error_message="page [2] is [/bold] blank")
                    manager.add_step("invoice-18", "ocr", "FAILED", error_message="no pages")
                    manager.add_step("invoice-19", "ocr", "WARNING", error_message="dark")
                assert manager.flush(30) == 0
                assert manager.wait_projected(60)
        yield settings


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line on that store: its exit code and what it wrote."""
    return command_line(settings, monkeypatch, capsys)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_doc_shows_state_and_timeline(stack: Stack, command: Command) -> None:
    """A document's steps and events, of all pipelines unless one is named; data is never read as markup."""
    code, out, _ = command("doc", "invoice-17")
    assert code == OK
    assert "State" in out
    assert "Timeline" in out
    assert {"ocr", "etl"} <= set(out.split())
    assert "page [2] is [/bold] blank" in " ".join(out.split())
    code, out, _ = command("doc", "invoice-17", "--pipeline", "etl")
    assert code == OK
    assert "blank" not in out


def test_doc_as_json(stack: Stack, command: Command) -> None:
    """`doc --json` is one object: the state of each step, the events, and where to go on."""
    code, out, _ = command("doc", "invoice-17", "--pipeline", "ocr", "--json")
    assert code == OK
    told = json.loads(out)
    assert {state["step_name"]: state["status"] for state in told["state"]} == {
        "read": "SUCCESS",
        "ocr": "ERROR",
    }
    assert [(event["step_name"], event["status"]) for event in told["timeline"]] == [
        ("read", "RUNNING"),
        ("read", "SUCCESS"),
        ("ocr", "RUNNING"),
        ("ocr", "ERROR"),
    ]
    assert told["timeline"][1]["details"] == {"pages": 3}
    assert told["timeline"][1]["timestamp"].endswith("Z")
    assert told["next"] is None


def test_doc_in_pages(stack: Stack, command: Command) -> None:
    """`next` of one page is --after of the following one, to the end."""
    seen: list[str] = []
    after: list[str] = []
    for _ in range(4):
        _, out, _ = command("doc", "invoice-17", "-p", "ocr", "--limit", "3", "--json", *after)
        told = json.loads(out)
        seen += [event["event_id"] for event in told["timeline"]]
        if told["next"] is None:
            break
        after = ["--after", told["next"]]
    assert len(seen) == len(set(seen)) == 4


def test_an_unknown_document_names_near_ones(stack: Stack, command: Command) -> None:
    """An unknown document exits 1, says so, and names documents that may have been meant."""
    code, out, err = command("doc", "invoce-17")
    assert (code, out) == (NO, "")
    assert "no events of document 'invoce-17'" in err
    assert "invoice-17" in err
    code, out, err = command("doc", "invoice-18", "--pipeline", "etl", "--json")
    assert (code, out) == (NO, "")
    told = json.loads(err)
    assert told["error"] == "unknown_document"
    assert "pipeline 'etl'" in told["message"]


def test_errors(stack: Stack, command: Command) -> None:
    """Errors of all documents, newest first, with warnings when asked, one pipeline when named."""
    code, out, _ = command("errors", "--json")
    assert code == OK
    assert [(e["doc_id"], e["status"], e["pipeline"]) for e in lines(out)] == [
        ("invoice-18", "FAILED", "ocr"),
        ("invoice-17", "ERROR", "ocr"),
    ]
    _, out, _ = command("errors", "--warnings", "--json", "--since", "15m")
    assert [e["doc_id"] for e in lines(out)] == ["invoice-19", "invoice-18", "invoice-17"]
    _, out, _ = command("errors", "--json", "--limit", "1")
    _, out, _ = command("errors", "--json", "--limit", "1", "--after", lines(out)[0]["cursor"])
    assert [e["doc_id"] for e in lines(out)] == ["invoice-17"]
    code, out, _ = command("errors", "--pipeline", "etl")
    assert code == OK
    assert out.startswith("No errors in pipeline etl since")
    code, out, err = command("errors")
    assert "page [2] is [/bold] blank" in " ".join(out.split())
    assert "2 errors since" in err


def test_stalled_steps_are_shown(stack: Stack, settings: Settings, command: Command) -> None:
    """`doc` shows STALLED in a step's state, `errors --stalled` why; both have the observation in JSON."""
    with ProcessingStepManager(open_storage(settings, pipeline="hung")) as manager:
        handle = manager.add_step("invoice-20", "ocr", "RUNNING")
        assert manager.flush(30) == 0
        assert manager.wait_projected(60)
    topic = ObservationTopic(settings)
    assert topic.publish([observation("hung", handle, 1, datetime.now(timezone.utc))])
    topic.close()
    until(lambda: lines(command("errors", "-p", "hung", "--stalled", "--json")[1]), "stall in its table")
    code, out, err = command("doc", "invoice-20")
    assert code == OK
    assert "STALLED" in out
    assert "ocr is stalled since" in err
    told = json.loads(command("doc", "invoice-20", "--json")[1])
    assert (told["state"][0]["status"], told["state"][0]["stalled_since"] is None) == ("RUNNING", False)
    assert [(each["what"], each["stands"]) for each in told["observations"]] == [("STALLED", True)]
    code, out, err = command("errors", "-p", "hung", "--stalled")
    assert code == OK
    assert "deadline 600 s" in " ".join(out.split())
    assert "1 stalled now in pipeline hung" in err
    (line,) = lines(command("errors", "-p", "hung", "--stalled", "--json")[1])
    assert (line["what"], line["doc_id"], line["deadline_seconds"]) == ("STALLED", "invoice-20", 600.0)
    assert lines(command("errors", "-p", "hung", "--json")[1]) == []


def test_sql_forms(stack: Stack, command: Command) -> None:
    """An answer as a table, as JSON lines and as CSV; names are there without rows and when they are doubled."""
    query = "SELECT doc_id, count() AS n FROM steps WHERE pipeline = 'ocr' GROUP BY doc_id ORDER BY doc_id"
    code, out, _ = command("sql", query, "--json")
    assert code == OK
    assert lines(out) == [
        {"doc_id": "invoice-17", "n": 4},
        {"doc_id": "invoice-18", "n": 1},
        {"doc_id": "invoice-19", "n": 1},
    ]
    _, out, _ = command("sql", query, "--csv")
    assert list(csv.reader(io.StringIO(out)))[:2] == [["doc_id", "n"], ["invoice-17", "4"]]
    _, out, err = command("sql", query)
    assert "invoice-19" in out
    assert "3 rows" in err
    _, out, _ = command("sql", "SELECT doc_id FROM steps WHERE 0", "--csv")
    assert out == "doc_id\n"


def test_sql_is_bounded_and_says_so(stack: Stack, command: Command) -> None:
    """A long answer is cut with a note on standard error; --limit 0 gives all of it."""
    code, out, err = command("sql", "SELECT number FROM numbers(1000000)", "--limit", "5", "--csv")
    assert code == OK
    assert out.split() == ["number", "0", "1", "2", "3", "4"]
    assert "there are more: --limit 0" in err
    _, out, err = command("sql", "SELECT number FROM numbers(3000)", "--limit", "0", "--csv")
    assert len(out.split()) == 3001
    assert err == ""


@pytest.mark.parametrize(
    ("query", "message", "hint"),
    [
        ("SELEC 1", "Syntax error", None),
        ("SELECT doc_id FROM steps WHERE", "the query ends too early", None),
        ("SELECT * FROM nope", "nope", "SHOW TABLES"),
        ("SELECT nope FROM steps", "nope", "DESCRIBE steps"),
        ("SELECT throwIf(1, 'sesame')", "sesame", None),
    ],
)
def test_bad_sql_is_told_by_the_server(
    stack: Stack, command: Command, query: str, message: str, hint: "str | None"
) -> None:
    """Bad SQL exits 4 with the server's message, trimmed of addresses, versions and stack traces."""
    code, out, err = command("sql", query)
    assert (code, out) == (REFUSED, "")
    assert err.startswith("error: ClickHouse refused the query (code ")
    assert message in err
    assert (hint in err) if hint else ("hint:" not in err)
    for noise in ("version ", "http://", "FORMAT Native", "DB::"):
        assert noise not in err
    code, _, err = command("sql", query, "--json")
    assert (code, json.loads(err)["error"]) == (REFUSED, "query_refused")


def test_migrate_and_topics_can_be_repeated(stack: Stack, command: Command) -> None:
    """Both show what is there, and do nothing the second time."""
    code, out, _ = command("migrate", "--json")
    assert code == OK
    assert [told["version"] for told in lines(out)] == list(range(1, len(lines(out)) + 1))
    assert not any(told["applied_now"] for told in lines(out))
    code, out, _ = command("topics", "--json")
    assert code == OK
    assert {told["outcome"] for told in lines(out)} == {"unchanged"}
    assert "unchanged" in command("topics")[1]
    assert "0001_ledger" in command("migrate")[1]


def test_lag(stack: Stack, command: Command) -> None:
    """The lag by partition and in all; with the projector there, nothing is behind."""
    code, out, _ = command("lag", "--json")
    assert code == OK
    told = json.loads(out)
    assert told["problems"] == []
    assert told["lag_events"] == 0
    assert [each["partition"] for each in told["partitions"]] == list(range(6))
    assert "0 events behind" in command("lag")[1]


def test_a_wrong_password_is_told(
    stack: Stack, settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that ClickHouse refuses exits 3 and is not shown."""
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE_PASSWORD", "sesame-open")
    code, out, err = command("errors")
    assert (code, out) == (UNREACHABLE, "")
    assert "sesame-open" not in err
    assert "assword" in err or "uthentication" in err


def test_a_database_without_tables_is_told(
    stack: Stack, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was never migrated says which command creates the tables."""
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", stack.with_database("never_migrated"))
    for argv in (["errors"], ["doc", "invoice-17"]):
        code, _, err = command(*argv)
        assert code == UNREACHABLE
        assert "steptrail migrate" in err


def test_a_topic_that_differs_is_told_and_set_right(
    stack: Stack, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config that differs exits 1 and is shown; --alter sets it; partitions are only shown."""
    monkeypatch.setenv("STEPTRAIL_RETENTION_MS", "86400000")
    code, out, _ = command("topics")
    assert code == NO
    assert "retention.ms is" in out
    assert command("topics", "--alter")[0] == OK
    assert command("topics")[0] == OK
    monkeypatch.delenv("STEPTRAIL_RETENTION_MS")
    assert command("topics", "--alter")[0] == OK
    monkeypatch.setenv("STEPTRAIL_STEPS_PARTITIONS", "9")
    code, out, _ = command("topics", "--alter", "--json")
    assert code == NO
    drifted = [told for told in lines(out) if told["outcome"] == "drifted"]
    assert [difference["name"] for told in drifted for difference in told["differences"]] == ["partitions"]


def test_bad_use_is_not_an_answer(stack: Stack, command: Command) -> None:
    """A mistake in the command line exits 2 before anything is asked."""
    assert command("errors", "--since", "soon")[0] == USAGE
    assert command("doc", "invoice-17", "--limit", "0")[0] == USAGE
