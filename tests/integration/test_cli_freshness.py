"""What answers say of themselves: up to when they know everything, and which names nobody ever heard of."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.loop.freshness import read_freshness
from steptrail.deploy.terminal.failures import NO, OK, UNREACHABLE, USAGE
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import ProcessingStatus
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.stored_names import stored_name
from support.command_line import Command, command_line
from support.effort import only_some
from support.projecting import projecting
from support.stack import Stack, new_workspace
from support.waiting import until

#: Signed URLs around the limit, cut points within a character, a NUL, and a file name that is not UTF-8.
NAMES = [
    *("https://bucket/scan.pdf?X-Signature=" + "a" * (size - 36) for size in (1023, 1024, 1025, 1026, 5000)),
    *("字" * 341 + "b" * extra for extra in (0, 1, 2, 3)),
    "é" * 2500,
    "a\0b" * 400,
    os.fsdecode(b"scan-\xff\xfe.pdf"),
]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """A store with documents of all names, whose projector has stopped, and two errors that it did not read."""
    with new_workspace(stack) as settings:
        with (
            projecting(settings),
            ProcessingStepManager(open_storage(settings, pipeline="invoices")) as manager,
        ):
            for name in NAMES:
                manager.add_step(name, "ocr", ProcessingStatus.SUCCESS)
            assert manager.flush(30) == 0
            assert manager.wait_projected(60)
        yield settings


def emit_error(settings: Settings) -> None:
    with ProcessingStepManager(emit_only(settings, pipeline="invoices")) as late:
        late.add_step("invoice-99", "ocr", ProcessingStatus.ERROR, error_message="nobody reads this")
        assert late.flush(30) == 0


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line on that store: its exit code and what it wrote."""
    run_it = command_line(settings, monkeypatch, capsys)

    def in_one_line(*argv: str) -> tuple[int, str, str]:
        code, out, err = run_it(*argv)
        return code, out, " ".join(err.split())

    return in_one_line


def told(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


LISTS = [("errors",), ("errors", "--group"), ("errors", "--stalled"), ("groups",), ("dlq", "list")]


def test_an_answer_that_is_up_to_date_says_so(command: Command) -> None:
    """Nothing waits: exit 0, a quiet line, and the time as JSON."""
    for argv in LISTS:
        code, _, err = command(*argv)
        assert code == OK
        assert "Everything up to 20" in err
        code, out, err = command(*argv, "--json")
        found = told(err)
        assert (code, out, found["behind_seconds"], found["behind_events"]) == (OK, "", 0, 0)
        assert found["as_of"].endswith("Z")
        assert found["rows"] == 0
    code, out, err = command("doc", NAMES[0], "--json")
    assert (code, told(out)["behind_seconds"], err) == (OK, 0, "")
    assert told(command("lag", "--json")[1])["as_of"].endswith("Z")


@pytest.mark.parametrize(
    "name",
    only_some(*NAMES[1:3], *NAMES[6::2], rest=[NAMES[0], *NAMES[3:6], *NAMES[7::2]]),
    ids=lambda name: ascii(name)[:20],
)
def test_a_document_is_found_by_the_name_that_was_emitted(
    command: Command, settings: Settings, name: str
) -> None:
    """`steptrail doc` and `Reader` at every length, cut point and spelling; and by the id as it is stored."""
    with open_storage(settings, pipeline="invoices") as storage:
        assert len(storage.get_steps(name)) == 1
        assert len(storage.get_steps(stored_name(name))) == 1
        assert len(storage.reader.document_state("invoices", name)) == 1
    for typed in (name.replace("\0", "\\x00"), stored_name(name)):
        code, out, _ = command("doc", typed, "--json")
        assert code == OK
        assert told(out)["doc_id"] == stored_name(name)


def test_an_unknown_document_that_is_not_utf_8_is_told(command: Command) -> None:
    """No traceback, in text and in JSON."""
    name = os.fsdecode(b"nobody-\xff.pdf")
    assert command("doc", name)[0] == NO
    code, _, err = command("doc", name, "--json")
    assert (code, told(err)["error"]) == (NO, "unknown_document")
    assert command("errors", "--pipeline", name)[0] == NO
    assert command("health", "--pipeline", name, "--step", name)[0] == 3


@pytest.mark.parametrize(
    "argv",
    [("errors",), ("errors", "--group"), ("groups",), ("incomplete",), ("doc", NAMES[0])],
    ids=" ".join,
)
def test_an_unknown_pipeline_is_told_with_near_names(command: Command, argv: tuple[str, ...]) -> None:
    """ "No errors" would be true, and misleading: exit 1."""
    code, out, err = command(*argv, "--pipeline", "invoice", "--json")
    found = told(err)
    assert (code, out, found["error"], found["near"]) == (NO, "", "unknown_pipeline", ["invoices"])
    code, _, err = command(*argv, "--pipeline", "invoice")
    assert code == NO
    assert "near: invoices" in err


def test_an_unknown_step_is_told_with_near_names(command: Command) -> None:
    """In groups, and in health, whose exit code stays that of the verdict."""
    code, _, err = command("groups", "--pipeline", "invoices", "--step", "orc", "--json")
    assert (code, told(err)["error"], told(err)["near"]) == (NO, "unknown_step", ["ocr"])
    code, out, _ = command("health", "--pipeline", "invoices", "--step", "orc", "--json")
    assert (code, told(out)["status"], told(out)["near"]) == (3, "UNKNOWN", ["ocr"])
    assert "near: invoices" in command("health", "--pipeline", "invoice")[2]


def test_kafka_that_is_away_makes_freshness_unknown_not_the_answer(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes, with what did not answer; exit 3 unless --max-behind any."""
    monkeypatch.setenv("STEPTRAIL_KAFKA", "127.0.0.1:1")
    code, out, err = command("errors")
    assert code == UNREACHABLE
    assert "No errors since" in out
    assert "not known: Kafka at 127.0.0.1:1" in err
    code, _, err = command("errors", "--json", "--max-behind", "any")
    assert code == OK
    assert (told(err)["as_of"], told(err)["behind_seconds"]) == (None, None)
    assert "127.0.0.1:1" in told(err)["freshness_problem"]


def test_errors_that_wait_unread_are_told(command: Command, settings: Settings) -> None:
    """The projector does not run: what Kafka has taken since is counted, and exit 3 says that it is too much."""
    emit_error(settings)
    with connect(settings) as clickhouse:
        until(lambda: read_freshness(settings, clickhouse).behind_events == 1, "the end of the topic")
        found = read_freshness(settings, clickhouse)
        assert found.as_of is not None
        assert found.behind_seconds is not None
        assert found.behind_seconds > 0
    for argv in [*LISTS, ("doc", NAMES[0])]:
        code, _, err = command(*argv, "--max-behind", "0s")
        assert code == UNREACHABLE, argv
        assert "1 event waits unread" in err
        code, out, err = command(*argv, "--max-behind", "1w", "--json")
        assert code == OK, argv
        assert told(err or out)["behind_events"] == 1
        assert told(err or out)["behind_seconds"] > 0
    code, _, err = command("errors", "--pipeline", "invoice", "--max-behind", "0s")
    assert code == UNREACHABLE  # whoever knows it may be among what waits
    assert "waits unread" in err
    report = told(command("lag", "--json")[1])
    assert report["behind_events"] == 1
    assert report["as_of"].endswith("Z")


def test_how_far_is_cheap(settings: Settings) -> None:
    """One statement a question, however much there is."""
    asked = []

    class Counting:
        def rows(self, sql: str, *rest: Any) -> list[dict[str, Any]]:
            asked.append(sql)
            return clickhouse.rows(sql, *rest)

    with connect(settings) as clickhouse:
        read_freshness(settings, Counting())
    assert len(asked) == 1


def test_names_that_match_nothing_are_warned_of(command: Command, tmp_path: Path) -> None:
    """Where a name or a glob is written down for later: rules of health, the alerts file, a silence; not refused."""
    rules, alerts = tmp_path / "health.toml", tmp_path / "alerts.toml"
    rules.write_text('[[rule]]\npipeline = "invioces"\n[[rule]]\nstep = "ocr*"\n[[rule]]\nstep = "orc"\n')
    alerts.write_text('[[owner]]\npipeline = "invoice"\n')
    silence = ("alerts", "silence", "--for", "1h", "--reason", "x", "-p")
    for argv, names in (
        (("health", "rules", "check", str(rules)), {"invioces": "invoices", "orc": "ocr"}),
        (("health", "rules", "set", "-f", str(rules), "-s", "orc", "errors.bad=0.3"), {"orc": "ocr"}),
        (("health", "rules", "silence", "-f", str(rules), "-s", "oc?", "errors"), {}),
        (("alerts", "check", str(alerts)), {"invoice": "invoices"}),
        ((*silence, "invioce"), {"invioce": "invoices"}),
        ((*silence, "inv*"), {}),
    ):
        code, _, err = command(*argv)
        assert code == OK
        assert err.count("is known yet") == len(names)
        for name, meant in names.items():
            assert f"{name!r} is known yet; did you mean {meant}?" in err
    code, out, _ = command("alerts", "check", str(alerts), "--json")
    assert told(out)["unknown"] == [{"kind": "pipeline", "name": "invoice", "near": ["invoices"]}]


def test_a_kind_that_no_alert_has_is_refused(command: Command) -> None:
    """The kinds are known, other than names of pipelines."""
    code, _, err = command("alerts", "silence", "-k", "slience", "--for", "1h", "--reason", "x")
    assert code == USAGE
    assert "there is no kind of alert 'slience'" in err
    assert "silence" in err


def test_names_are_not_warned_of_where_nobody_can_be_asked(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file is checked without ClickHouse too."""
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", "http://default@127.0.0.1:9/x")
    rules = tmp_path / "health.toml"
    rules.write_text('[[rule]]\npipeline = "invioces"\n')
    code, _, err = command("health", "rules", "check", str(rules))
    assert (code, err) == (OK, "")
