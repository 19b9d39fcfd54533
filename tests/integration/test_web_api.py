"""The HTTP API on the real store and broker: the twelve questions, pages, changes, streams, what is away."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from steptrail.consumers.web.access.tokens import new_token
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import only_some
from support.every_state import HOSTILE, documents_in_every_state
from support.stack import Stack
from support.waiting import until
from support.web import Api, serving
from support.web_lists import all_pages, items

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def seeded(stack: Stack) -> Iterator[Settings]:
    """Documents in every state, dead letters, and what the health consumer makes of it."""
    with documents_in_every_state(stack) as settings:
        yield settings


@pytest.fixture(scope="module")
def api(seeded: Settings) -> Iterator[Api]:
    with serving(seeded) as running:
        until(lambda: running.get("/alerts").status == 200, "what the topics of alerting hold")
        yield running


def endpoints() -> list[str]:
    """The example addresses in the table of docs/api.md."""
    rows = re.findall(
        r"^\| \d+ \|.*\| `GET (/api/v1/[^`]+)`.*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == 12
    return rows


@pytest.mark.parametrize("address", endpoints())
def test_each_of_the_twelve_questions_has_an_answer(api: Api, address: str) -> None:
    """The address in the docs' table: 200, with what it found and how fresh that is."""
    reply = api.send("GET", f"/{address}", None)
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == "application/json":
        assert reply.json["as_of"].endswith("Z")
        assert reply.json["behind_seconds"] >= 0
    assert len(reply.body) > 2


def test_what_is_failing_now_is_the_current_state(api: Api) -> None:
    """Not every past error: what a retry has mended is not there; each with its last error, newest first."""
    failing = items(api, "/failing")
    assert {each["doc_id"] for each in failing} == {
        *(f"scan_{n:04d}.pdf" for n in (0, 1, 2, 3, 4, 6)),
        HOSTILE,
    }
    assert [each["failed_at"] for each in failing] == sorted(
        (each["failed_at"] for each in failing), reverse=True
    )
    by_doc = {each["doc_id"]: each for each in failing}
    assert by_doc["scan_0003.pdf"]["error_message"] == "no answer from 10.0.3.3 within 30 s"
    assert by_doc["scan_0003.pdf"]["can_be_retried"]
    assert not by_doc["scan_0006.pdf"]["can_be_retried"]
    counts = api.get("/failing/counts").json
    assert (counts["documents"], counts["can_be_retried"]) == (7, 6)
    assert {(each["step_name"], each["documents"]) for each in counts["items"]} == {("ocr", 6), ("fetch", 1)}
    assert [each["doc_id"] for each in items(api, "/failing", status="FAILED")] == ["scan_0006.pdf"]
    assert items(api, "/failing", pipeline="others") == []


def test_what_is_in_progress_is_what_runs_and_what_waits(api: Api) -> None:
    """One each, and nothing that has ended."""
    found = {(each["doc_id"], each["status"]) for each in items(api, "/in-progress")}
    assert found == {("scan_0007.pdf", "RUNNING"), ("waits.pdf", "PENDING")}
    counts = api.get("/in-progress/counts").json
    assert (counts["running"], counts["queued"]) == (1, 1)
    assert [each["doc_id"] for each in items(api, "/in-progress", status="PENDING")] == ["waits.pdf"]
    assert items(api, "/in-progress", only_stalled="true") == []


LISTS: list[tuple[str, dict[str, Any], int]] = [
    ("/failing", {}, 3),
    ("/in-progress", {}, 1),
    ("/documents", {}, 7),
    ("/documents", {"order": "name"}, 3),
    ("/documents", {"status": ["ERROR", "FAILED"]}, 1),
    ("/documents", {"order": "name", "status": "SUCCESS"}, 7),
    ("/events", {"status": "ERROR"}, 3),
    ("/dead-letters", {}, 1),
    ("/incomplete", {}, 7),
]
"""Lists, and how many of each are on a page: fewer than there are."""


@pytest.mark.parametrize(
    ("path", "more", "limit"),
    only_some(
        *LISTS,
        rest=[(path, more, other) for path, more, limit in LISTS for other in (1, 3, 7) if other != limit],
    ),
)
def test_pages_together_are_the_list(api: Api, path: str, more: dict[str, Any], limit: int) -> None:
    """Nothing twice, nothing left out, in the same order."""
    whole = items(api, path, limit=500, **more)
    assert whole
    assert len(whole) > limit or (path, more, limit) not in LISTS
    assert all_pages(api, path, limit, **more) == whole


def test_documents_have_the_state_of_each_step(api: Api) -> None:
    """By both orders the same documents; a state chooses."""
    recent, by_name = items(api, "/documents", limit=500), items(api, "/documents", order="name", limit=500)
    assert len(recent) == 32
    assert sorted(each["doc_id"] for each in recent) == [each["doc_id"] for each in by_name]
    states = {each["doc_id"]: each["status"] for each in recent}
    assert states["scan_0000.pdf"] == "ERROR"
    assert states["scan_0005.pdf"] == "SUCCESS"
    assert states["scan_0006.pdf"] == "FAILED"
    assert states["scan_0007.pdf"] == "RUNNING"
    assert {each["doc_id"] for each in items(api, "/documents", status="FAILED")} == {"scan_0006.pdf"}
    assert len(items(api, "/documents", prefix="scan_001", order="name")) == 10


def test_a_document_has_its_attempts_side_by_side_and_what_is_missing(api: Api) -> None:
    """And its events, oldest first."""
    [found] = items(api, "/document", doc_id="scan_0005.pdf")
    ocr = next(each for each in found["attempts"] if each["step_name"] == "ocr")
    assert [each["status"] for each in ocr["attempts"]] == ["ERROR", "SUCCESS"]
    assert {"status", "error_message", "details"} <= set(ocr["differs"])
    assert found["completeness"]["missing"] == ["store"]
    assert len(found["events"]) == found["events_total"] == 6
    assert api.get("/document", doc_id="no such").status == 404


def test_search_finds_by_whatever_is_in_hand(api: Api) -> None:
    """Part of an id, of a message, the worker, an execution."""
    by_id = items(api, "/search", q="AN_0003")
    assert {each["doc_id"] for each in by_id if each["kind"] == "documents"} == {"scan_0003.pdf"}
    by_message = api.get("/search", q="NO ANSWER from").json
    assert by_message["matched_errors"] == 6
    assert "groups" in {each["kind"] for each in by_message["items"]}
    event = items(api, "/failing")[0]
    workers = {each["worker"] for each in items(api, "/search", q=event["worker"][:-1], kind="workers")}
    assert event["worker"] in workers
    [execution] = items(api, "/search", q=event["execution_id"], kind="executions")
    assert execution["doc_id"] == event["doc_id"]
    assert items(api, "/search", q="nothing has this in it") == []


def test_an_event_has_an_address_that_lasts(api: Api) -> None:
    """Its cursor; one that is gone says so."""
    row = items(api, "/failing")[0]
    event = api.get("/event", cursor=row["cursor"]).json["event"]
    assert (event["doc_id"], event["execution_id"]) == (row["doc_id"], row["execution_id"])
    assert api.get("/event", cursor="xx").json["error"] == "bad_cursor"


def test_throughput_waits_and_durations_say_what_the_events_do(api: Api) -> None:
    """Counted by the health consumer, and from the executions."""

    def counted() -> bool:
        points = items(api, "/throughput")
        return bool(sum(point["error"] + point["failed"] for point in points) == 8)

    until(counted, "eight counted errors")
    steps = {(each["pipeline"], each["step_name"]): each for each in items(api, "/steps")}
    ocr = steps["invoices", "ocr"]
    assert (ocr["failing_documents"], ocr["can_be_retried"], ocr["running"]) == (6, 5, 1)
    assert ocr["ended"] == 30
    assert ocr["error_ratio"] == pytest.approx(7 / 30)
    assert ocr["last_error"]
    waits = items(api, "/waits")
    assert {(each["step_name"], each["after_step"]) for each in waits} == {("ocr", "fetch"), ("ocr", "ocr")}
    durations = items(api, "/durations", pipeline="invoices", step_name="ocr")
    assert sum(each["executions"] for each in durations) == 30
    overview = api.get("/overview").json
    assert (overview["failing_documents"], overview["running"], overview["queued"]) == (7, 1, 1)
    assert {each["state"] for each in overview["changed"]} == {"NEW"}


def test_an_entity_tag_spares_what_has_not_changed(api: Api) -> None:
    """304 without a body, and still how fresh it is; another question has another tag."""
    first = api.get("/failing", limit=2)
    again = api.get("/failing", {"If-None-Match": first.headers["etag"]}, limit=2)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["steptrail-as-of"].endswith("Z")
    other = api.get("/failing", {"If-None-Match": first.headers["etag"]}, limit=1)
    assert other.status == 200


def test_people_decide_about_a_group_and_it_is_written_down(api: Api) -> None:
    """Who, what, why."""
    group = items(api, "/error-groups")[0]["group_id"]
    for verb, action, state in (
        ("mute", "MUTE", "MUTED"),
        ("resolve", "RESOLVE", "RESOLVED"),
        ("reopen", "REOPEN", "NEW"),
    ):
        reply = api.post(f"/error-groups/{group}/{verb}", {"reason": f"because {verb}"})
        assert reply.status == 200, reply.body
        assert reply.json["group"]["state"] == state
        latest = reply.json["actions"][0]
        assert (latest["action"], latest["reason"]) == (action, f"because {verb}")
        assert latest["acted_by"]
    assert api.post("/error-groups/ffffffffffffffff/mute", {}).status == 404
    assert api.post(f"/error-groups/{group}/explode", {}).status == 422


def test_a_silence_is_made_and_ended(api: Api) -> None:
    """It needs to say what and why."""
    made = api.post("/silences", {"pipeline": "invoices", "for_seconds": 600, "reason": "moving"})
    assert made.status == 200, made.body
    ident = made.json["silence"]["id"]
    assert made.json["silence"]["holds"]
    assert ident in {each["id"] for each in items(api, "/silences")}
    ended = api.post(f"/silences/{ident}/expire", {})
    assert (ended.status, ended.json["silence"]["holds"]) == (200, False)
    assert ident not in {each["id"] for each in items(api, "/silences")}
    assert api.post("/silences", {"for_seconds": 600, "reason": "x"}).status == 400
    assert api.post("/silences", {"pipeline": "p", "for_seconds": 600, "reason": " "}).status == 422
    assert api.post("/silences/0123/expire", {}).status == 404


def test_dead_letters_are_looked_at_before_they_are_sent_or_dropped(api: Api) -> None:
    """A dry run changes nothing and says what can go and what cannot; a drop is of who did it."""
    letters = items(api, "/dead-letters")
    assert len(letters) == 3
    dry = api.post("/dead-letters/redrive", {}).json
    assert (dry["dry_run"], dry["matched"], dry["would_send"], dry["skipped"]) == (
        True,
        3,
        0,
        {"still_bad": 3},
    )
    counted = api.post("/dead-letters/drop", {"places": [letters[0]["place"]], "note": "junk"}).json
    assert (counted["matched"], counted["dropped"]) == (1, 0)
    assert len(items(api, "/dead-letters")) == 3
    real = api.post(
        "/dead-letters/drop", {"places": [letters[0]["place"]], "note": "junk", "dry_run": False}
    ).json
    assert real["dropped"] == 1
    [dropped] = items(api, "/dead-letters", state="DROPPED")
    assert (dropped["note"], dropped["decided_by"]) == ("junk", real["done_by"])
    assert api.post("/dead-letters/drop", {"note": "all of them"}).status == 400


def test_hostile_text_is_data(api: Api) -> None:
    """As it was sent, in JSON, in an address, in a file; no answer is a page."""
    [found] = items(api, "/document", doc_id=HOSTILE)
    assert found["events"][0]["details"] == {HOSTILE: HOSTILE}
    reply = api.get("/failing")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert b"\x1b" not in reply.body
    text = api.get("/export/failing", format="csv").body.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert HOSTILE in {row["doc_id"] for row in rows}
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "what",
    [
        "failing",
        "in-progress",
        "documents",
        "steps",
        "throughput",
        "waits",
        "error-groups",
        "emitters",
        "dead-letters",
        "incomplete",
    ],
)
def test_every_list_can_be_had_as_a_file(api: Api, what: str, form: str) -> None:
    """All of it, whatever the size of a page."""
    reply = api.get(f"/export/{what}", format=form)
    assert reply.status == 200, reply.body
    assert reply.headers["content-disposition"].endswith(f'steptrail-{what}.{form}"')
    if form == "jsonl":
        assert all(json.loads(line) for line in reply.body.splitlines())
        if what == "documents":
            assert len(reply.body.splitlines()) == 32


def test_events_come_as_parquet_csv_and_json_lines(api: Api, seeded: Settings) -> None:
    """The same events in each, each once."""
    import pyarrow.parquet

    with connect(seeded) as clickhouse:
        [(count,)] = clickhouse.query("SELECT uniqExact(event_id) FROM steps")
    table = pyarrow.parquet.read_table(io.BytesIO(api.get("/export/events", format="parquet").body))
    lines = api.get("/export/events", format="jsonl").body.splitlines()
    assert table.num_rows == len(lines) == count
    assert {json.loads(line)["event_id"] for line in lines} == set(table.column("event_id").to_pylist())
    assert api.get("/export/events", format="csv").body.startswith(b'"pipeline","doc_id"')
    assert api.get("/export/failing", format="parquet").status == 400


def test_live_numbers_and_events_come_as_they_are(api: Api, seeded: Settings) -> None:
    """A pulse says how much fails; each event comes once, with a cursor from which the next stream goes on."""
    frame = api.get("/live", times=1)
    assert frame.headers["content-type"].startswith("text/event-stream")
    [pulse] = re.findall(rb"event: pulse\ndata: (.*)\n", frame.body)
    assert json.loads(pulse)["failing_documents"] == 7
    first = items(api, "/events", newest_first="false", limit=1)[0]["cursor"]
    told = api.get("/events/live", after=first, times=1).body
    assert told.count(b"event: step") == len(all_pages(api, "/events", 500, newest_first="false")) - 1
    last = re.findall(rb"id: (\S+)\n", told)[-1].decode()
    assert b"event: step" not in api.get("/events/live", {"Last-Event-ID": last}, times=1).body
    manager = ProcessingStepManager(open_storage(seeded))
    manager.add_step("scan_0008.pdf", "late", S.SUCCESS)
    assert manager.flush(60) == 0
    assert manager.wait_projected(60)
    fresh = api.get("/events/live", {"Last-Event-ID": last}, times=1).body
    assert [json.loads(data)["step_name"] for data in re.findall(rb"data: (.*)\n", fresh)] == ["late"]


def test_a_token_for_one_pipeline_sees_nothing_of_others(seeded: Settings, tmp_path: Path) -> None:
    """Every address with a pipeline asks for one that it may see."""
    file = tmp_path / "tokens.toml"
    mine = {"Authorization": f"Bearer {new_token(file, 'mine', 'operate', ['others'])}"}
    with serving(seeded.with_values(web_tokens=str(file))) as api:
        assert api.get("/failing").status == 401
        assert api.get("/whoami", mine).json["pipelines"] == ["others"]
        for path in (
            "/failing",
            "/documents",
            "/events",
            "/error-groups",
            "/dead-letters",
            "/emitters",
            "/losses",
        ):
            assert api.get(path, mine).json["items"] == []
            assert api.get(path, mine, pipeline="invoices").status == 403
        assert api.get("/document", mine, doc_id="scan_0001.pdf").status == 404
        with connect(seeded) as clickhouse:
            [(group,)] = clickhouse.query("SELECT group_id FROM error_group_hours LIMIT 1")
        assert api.get(f"/error-groups/{group}", mine).status == 404
        assert api.send("GET", f"//errors/{group}", None, mine).status == 404
        for page in ("/", "/operations", "/failing", "/errors", "/steps"):
            shown = api.send("GET", f"/{page}", None, mine)
            assert (shown.status, b"invoices" in shown.body) == (200, False), page
        assert api.post(f"/error-groups/{group}/mute", {}, mine).status == 404
        assert (
            api.post("/silences", {"pipeline": "invoices", "for_seconds": 9, "reason": "x"}, mine).status
            == 403
        )
        assert api.post("/dead-letters/redrive", {}, mine).status == 403
        assert api.get("/pipelines", mine).json["items"] == []
        until(lambda: api.get("/silences", mine).status == 200, "silences of the topic")
        assert api.get("/silences", mine, ended="true").json["items"] == []


def test_a_rebound_name_and_another_site_reach_nothing(api: Api) -> None:
    """As a browser would send it."""
    assert api.get("/failing", {"Host": "evil.example"}).json["error"] == "foreign_host"
    refused = api.post(
        "/silences", {"pipeline": "p", "for_seconds": 9, "reason": "x"}, {"Origin": "http://evil.example"}
    )
    assert refused.json["error"] == "foreign_origin"
    assert "access-control-allow-origin" not in refused.headers


def test_a_broker_that_is_away_leaves_the_tables_readable(seeded: Settings) -> None:
    """Answers come from the store, and say that nobody knows how fresh they are; alerts cannot be known."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(seeded.with_values(kafka=away)) as api:
            reply = api.get("/failing")
            assert (reply.status, reply.json["as_of"]) == (200, None)
            assert len(reply.json["items"]) >= 7
            assert reply.json["freshness_problem"]
            assert api.get("/alerts").json["error"] == "broker_unavailable"
            assert api.get("/health").json["status"] == "UNKNOWN"
            lag = api.get("/lag").json
            assert lag["problems"]


def test_addresses_of_names_with_slashes_and_percent_signs_work(api: Api) -> None:
    """Names stand in the query, so that no proxy tidies them up."""
    odd = "a//b/../c%2F d?e#f&g=h"
    assert api.send("GET", f"/documents?prefix={quote(odd, safe='')}", None).json["items"] == []
    assert odd in api.send("GET", f"/document?doc_id={quote(odd, safe='')}", None).json["detail"]
