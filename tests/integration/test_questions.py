"""docs/questions.md: each question asked on all four surfaces, of the same data; the answers agree."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal.failures import OK
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.reading.document_summaries import WORST_FIRST
from steptrail.schemas.configuration.settings import Settings
from support.contract_fixtures import observation
from support.every_state import documents_in_every_state
from support.stack import Stack, environ_of
from support.waiting import until
from support.web import Api, serving

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"
STUCK = "stuck.pdf"


class Row(NamedTuple):
    """One row of the table: how a question is asked."""

    number: str
    question: str
    page: str
    endpoint: str
    command: str
    sql: str


def rows() -> list[Row]:
    found, number = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 6 and cells[4].startswith("steptrail "):
            number = cells[0] or number
            question, page, endpoint, command = cells[1:5]
            sql = cells[5].removesuffix(" |").strip("` ")
            found.append(Row(number, question, page, endpoint, command, sql))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """Documents in every state, and one execution that was found to be stuck."""
    with documents_in_every_state(stack) as settings, connect(settings) as clickhouse:
        manager = ProcessingStepManager(open_storage(settings))
        handle = manager.add_step(STUCK, "ocr", "RUNNING")
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
        topic = ObservationTopic(settings)
        assert topic.publish([observation("invoices", handle, 1, datetime.now(timezone.utc))])
        topic.close()
        until(lambda: clickhouse.query("SELECT 1 FROM stalls"), "stall in its table")
        counted = "SELECT sum(success + warning + error + failed), sum(running) FROM step_minutes"
        until(lambda: clickhouse.query(counted)[0] == (61, 62), "counted minutes")
        yield settings


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Api]:
    with serving(settings) as running:
        until(lambda: running.get("/alerts").status == 200, "what the topics of alerting hold")
        yield running


class Asked(NamedTuple):
    """What the four surfaces answered: the page's text, the endpoint's JSON, the command's lines, SQL's rows."""

    page: str
    api: Any
    cli: list[Any]
    sql: list[dict[str, Any]]


@pytest.fixture
def ask(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Row], Asked]:
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    for name, value in environ_of(settings).items():
        monkeypatch.setenv(name, value)

    def command(*argv: str) -> list[Any]:
        code = run(list(argv))
        shown = capfd.readouterr()
        assert code == OK or argv[0] == "health", shown.err
        return [json.loads(line) for line in shown.out.splitlines()]

    def asked(row: Row) -> Asked:
        page = api.send("GET", f"/{row.page}", None)
        assert page.status == 200, row.page
        reply = api.send("GET", row.endpoint, None)
        assert reply.status == 200, row.endpoint
        words = shlex.split(row.command)[1:]
        answer = command(*words, *([] if words[0] == "export" else ["--json"]))
        is_json = reply.headers["content-type"] == "application/json"
        content = reply.json if is_json else [json.loads(line) for line in reply.body.splitlines()]
        sql = command("sql", row.sql, "--json") if row.sql else []
        return Asked(unescape(page.body.decode()), content, answer, sql)

    return asked


def _same(asked: Asked, *names: str, sql: bool = True) -> set[tuple[Any, ...]]:
    """What the API, the command and SQL all found, by these fields."""

    def found(items: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
        return {tuple(item[name] for name in names) for item in items}

    answer = found(asked.api["items"])
    assert found(asked.cli) == answer
    assert len(asked.cli) == len(asked.api["items"])
    if sql:
        assert found(asked.sql) == answer
    return answer


def _documents(asked: Asked) -> None:
    same = _same(asked, "pipeline", "doc_id", "status", sql=False)
    worst: dict[str, str] = {}
    ranks = [status.value for status in WORST_FIRST]
    for row in asked.sql:
        known = worst.setdefault(row["doc_id"], row["status"])
        worst[row["doc_id"]] = min(known, row["status"], key=ranks.index)
    assert {(doc_id, status) for _, doc_id, status in same} == set(worst.items())
    assert len(same) == 33
    assert all(doc_id in asked.page for _, doc_id, _ in same if "script" not in doc_id)


def _in_progress(asked: Asked) -> None:
    assert len(_same(asked, "doc_id", "step_name", "status")) == 3
    assert STUCK in asked.page


def _failing(asked: Asked) -> None:
    same = _same(asked, "doc_id", "step_name", "status", "error_message")
    assert len(same) == 7
    assert all(doc_id in asked.page for doc_id, *_ in same if "script" not in doc_id)


def _throughput(asked: Asked) -> None:
    totals = [
        sum(int(each["ended"]) for each in items) for items in (asked.api["items"], asked.cli, asked.sql)
    ]
    assert totals == [61, 61, 61]
    bad = [sum(each["error"] + each["failed"] for each in items) for items in (asked.api["items"], asked.cli)]
    assert bad == [8, 8]
    assert round(sum(each["ended"] * each["error_ratio"] for each in asked.sql)) == 8
    assert "61, " in asked.page


def _durations(asked: Asked) -> None:
    names = ("pipeline", "step_name")
    same = _same(asked, *names, "ended", "p50_ms", "p95_ms", "p99_ms", sql=False)
    by_sql = {(each["pipeline"], each["step_name"]): each["p50_p95_p99"] for each in asked.sql}
    for pipeline, step_name, _, *quantiles in same:
        assert by_sql[pipeline, step_name] == pytest.approx(quantiles)
        assert step_name in asked.page


def _waits(asked: Asked) -> None:
    found = _same(asked, "step_name", "after_step", "waits", "p50_ms", sql=False)
    assert {(step, after) for step, after, *_ in found} == {("ocr", "fetch"), ("ocr", "ocr")}
    assert asked.sql == []  # nothing that was queued has begun


def _search(asked: Asked) -> None:
    names = ("doc_id", "step_name", "text")
    by_api = {tuple(hit[name] for name in names) for hit in asked.api["items"] if hit["kind"] == "errors"}
    by_cli = {tuple(hit[name] for name in names) for hit in asked.cli if hit["kind"] == "errors"}
    by_sql = {(row["doc_id"], row["step_name"], row["error_message"]) for row in asked.sql}
    assert by_api == by_cli == by_sql
    assert len(by_sql) == asked.api["matched_errors"] == 6
    assert Counter(hit["kind"] for hit in asked.cli) == Counter(hit["kind"] for hit in asked.api["items"])
    assert all(doc_id in asked.page for doc_id, *_ in by_sql)


def _document(asked: Asked) -> None:
    [of_api], [of_cli] = asked.api["items"], asked.cli
    names = ("step_name", "status", "attempt", "error_message")
    found = [
        [tuple(each[name] for name in names) for each in steps]
        for steps in (of_api["steps"], of_cli["state"], asked.sql)
    ]
    assert found[0] == found[1] == found[2]
    assert [each["event_id"] for each in of_api["events"]] == [
        each["event_id"] for each in of_cli["timeline"]
    ]
    assert of_api["completeness"]["missing"] == of_cli["completeness"][0]["missing"] == ["store"]
    assert "no answer from 10.0.3.3 within 30 s" in asked.page


def _groups(asked: Asked) -> None:
    same = _same(asked, "group_id", "state", "count", "documents", "step_name", "template")
    assert len(same) >= 3
    assert all(template in asked.page for *_, template in same if "script" not in template)


def _stuck(asked: Asked) -> None:
    assert _same(asked, "pipeline", "step_name", "doc_id") == {("invoices", "ocr", STUCK)}
    assert asked.cli[0]["sentence"] == asked.sql[0]["says"] == asked.api["items"][0]["sentence"]
    assert asked.cli[0]["sentence"] in asked.page


def _losses(asked: Asked) -> None:
    same = _same(asked, "worker", "pipeline", "accepted", "arrived", "missing", "dropped", "failed")
    assert all(worker in asked.page for worker, *_ in same)


def _export(asked: Asked) -> None:
    ids = [{event["event_id"] for event in events} for events in (asked.api, asked.cli, asked.sql)]
    assert ids[0] == ids[1] == ids[2]
    assert len(asked.cli) == len(asked.api) == len(ids[0])
    assert "/api/v1/export/documents" in asked.page


def _health(asked: Asked) -> None:
    verdicts = {(each["pipeline"], each["step_name"], each["status"]) for each in asked.api["verdicts"]}
    assert verdicts == {(each["pipeline"], each["step_name"], each["status"]) for each in asked.sql}
    assert asked.cli[0]["status"] == asked.api["status"]
    assert f"/favicon-{asked.api['status'].lower()}.svg" in asked.page


def _alerts(asked: Asked) -> None:
    assert asked.api["items"] == asked.cli == []
    assert "Nothing fires." in asked.page


def _fresh(asked: Asked) -> None:
    assert asked.api["behind_events"] == asked.cli[0]["behind_events"] == 0
    projected = {
        each["partition"]: each["projected"] for each in asked.cli[0]["partitions"] if each["projected"]
    }
    assert projected == {each["partition"]: int(each["projected"]) + 1 for each in asked.sql}
    assert "everything up to" in asked.page


AGREE: list[Callable[[Asked], None]] = [
    _documents, _in_progress, _failing, _throughput, _durations, _waits, _search, _document, _groups, _stuck, _losses,
    _export, _health, _alerts, _fresh,
]  # fmt: skip


def test_the_table_has_the_twelve_questions() -> None:
    """Each with a page, an endpoint and a command; all but alerts, which are in no table, with SQL."""
    assert sorted({int(row.number) for row in ROWS}) == list(range(1, 13))
    assert len(ROWS) == len(AGREE)
    assert [row.question for row in ROWS if not row.sql] == ["Which alerts fire, and what is silenced?"]


@pytest.mark.parametrize(
    ("row", "agree"), list(zip(ROWS, AGREE, strict=False)), ids=[row.question for row in ROWS]
)
def test_a_question_has_the_same_answer_everywhere(
    row: Row, agree: Callable[[Asked], None], ask: Callable[[Row], Asked]
) -> None:
    """On its page, by the API, at the command line and in SQL."""
    agree(ask(row))
