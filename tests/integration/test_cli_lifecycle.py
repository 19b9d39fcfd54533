"""`steptrail erase` and `steptrail retention` on a real Kafka and a real engine, with a projector that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from steptrail.deploy.terminal.failures import NO, OK, UNREACHABLE, USAGE
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES
from steptrail.schemas import Topics
from steptrail.schemas.configuration.settings import Settings
from support.alerting import rewind
from support.command_line import Command, command_line
from support.effort import ONLY_IN_TEST_ALL
from support.erasing import everywhere
from support.projecting import produce, projecting
from support.waiting import until

DOC = "patient-Zweigelt-1977"
TEXT = "no signature of Frau Blaufraenkisch"


@pytest.fixture
def command(
    workspace: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command line on the workspace: its exit code and what it wrote."""
    return command_line(workspace, monkeypatch, capsys)


@pytest.fixture
def store(workspace: Settings) -> Iterator[ClickHouse]:
    with connect(workspace) as clickhouse:
        yield clickhouse


def emit(settings: Settings, *documents: str) -> None:
    """A step that failed for each document, and one bad message that names the last; on the topic for sure."""
    with ProcessingStepManager(open_storage(settings, pipeline="scans")) as manager:
        for doc_id in documents:
            manager.add_step(doc_id, "sign", "RUNNING")
            manager.add_step(doc_id, "sign", "ERROR", error_message=TEXT if doc_id == DOC else "no signature")
        assert manager.flush(60) == 0


def projected(settings: Settings, store: ClickHouse, *others: str) -> None:
    """Wait until the tables have all that is on the steps topic, then what is on the topics of `others`."""
    topics = Topics(settings.topic_prefix)
    known = {"steps": topics.steps, "emitter_reports": topics.emitters, "dead_letters": topics.dlq}
    for projection in ("steps", *others):
        topic = known[projection]
        ends = end_offsets(settings, topic.name)
        until(partial(_there, store, projection, ends), f"end of {topic.name} in the tables")


def _there(store: ClickHouse, projection: str, ends: dict[int, int]) -> bool:
    sql = "SELECT partition, max(last_offset) FROM projection_ledger WHERE projection_name = {name:String} GROUP BY 1"
    marks = dict(store.query(sql, {"name": projection}))
    return all(marks.get(partition, -1) >= end - 1 for partition, end in ends.items())


def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    consumer = Consumer({**settings.kafka_config(), "group.id": "test-ends"})
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=60)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def naming(store: ClickHouse) -> list[str]:
    return sorted(
        name for name, rows in everywhere(store).items() if DOC.encode() in rows or b"Blaufraenkisch" in rows
    )


def test_erasing_counts_first_then_erases_and_no_replay_of_the_topic_brings_it_back(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Without --yes nothing changes; after it the projector reads the whole topic anew, twice."""
    with projecting(workspace):
        emit(workspace, DOC, "other")
        projected(workspace, store, "emitter_reports", "dead_letters")
        before = everywhere(store)
        code, out, _ = command("erase", "scans", DOC, "--json")
        assert (code, json.loads(out)["dry_run"], json.loads(out)["rows"]["steps"]) == (OK, True, 2)
        assert everywhere(store) == before
        code, out, _ = command("erase", "scans", DOC, "--yes", "--json", "--reason", "request 4711")
        told = json.loads(out)
        assert (code, told["dry_run"], told["state"], told["documents"]) == (OK, False, "DONE", 1)
        assert naming(store) == []
        kept = {topic["topic"]: topic for topic in told["topics"]}
        topics = Topics(workspace.topic_prefix)
        assert kept[topics.steps.name]["gone_at"] > told["until"]
        assert kept[topics.alerts.name]["compacted"] is True
        code, out, _ = command("erase", "--list", "--json")
        [record] = [json.loads(line) for line in out.splitlines()]
        assert (record["state"], record["reason"], record["documents"]) == ("DONE", "request 4711", 1)
        assert DOC not in out
    for _ in range(2):
        read_anew(workspace, store)
        with projecting(workspace):
            projected(workspace, store)
        assert naming(store) == []
        assert store.query("SELECT doc_id, count() FROM steps GROUP BY doc_id") == [("other", 2)]
    with projecting(workspace):
        emit(workspace, DOC)
        projected(workspace, store)
    assert store.query(f"SELECT count() FROM steps WHERE doc_id = '{DOC}'") == [(2,)]


def read_anew(settings: Settings, store: ClickHouse) -> None:
    """Empty the tables and the ledger, and have the projector's group begin at the beginning."""
    for table in (*(table.name for table in EVENT_TABLES), "projection_ledger", "projection_claims"):
        store.command(f"TRUNCATE TABLE {table}")
    topics = Topics(settings.topic_prefix)
    rewind(settings, topics.projector_group, topics.steps.name)


@ONLY_IN_TEST_ALL
def test_events_that_are_on_the_topic_and_not_projected_yet_are_kept_out(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Nothing is stored of the document when it is erased, so --absent says that it is meant."""
    emit(workspace, DOC, "other")
    code, _, err = command("erase", "scans", DOC, "--yes")
    assert (code, "Nothing was erased" in err, "--absent" in err) == (NO, True, True)
    assert store.query("SELECT count() FROM erased_documents") == [(0,)]
    assert command("erase", "scans", DOC, "--yes", "--absent")[0] == OK
    with projecting(workspace):
        projected(workspace, store)
    assert store.query("SELECT doc_id, count() FROM steps GROUP BY doc_id") == [("other", 2)]
    assert naming(store) == []


def test_mistakes_are_told_with_the_remedy_and_change_nothing(
    workspace: Settings, store: ClickHouse, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown names, no names, bad files and durations, and a Kafka that does not answer."""
    with projecting(workspace):
        emit(workspace, DOC)
        projected(workspace, store)
    wrong: list[tuple[tuple[str, ...], int, str]] = [
        (("erase", "scan", DOC, "--yes"), NO, "scans"),
        (("erase", "scans", DOC, "patient-Zweigelt-1978", "--yes"), NO, "patient-Zweigelt-1978"),
        (("erase",), USAGE, "name a pipeline"),
        (("erase", "scans"), USAGE, "--from"),
        (("erase", "scans", "--from", str(tmp_path / "none"), "--yes"), USAGE, "cannot read"),
        (("erase", "--list", "--yes"), USAGE, "--list only shows"),
        (("retention", "set", "scan", "90d", "--yes"), NO, "scans"),
        (("retention", "set", "scans", "90", "--yes"), USAGE, "90d"),
        (("retention", "default", "0d", "--yes"), USAGE, "1d"),
        (("retention", "release", "scans", "--yes"), USAGE, "no legal hold"),
    ]
    for argv, expected, said in wrong:
        code, _, err = command(*argv)
        assert (code, said in err) == (expected, True), (argv, code, err)
    monkeypatch.setenv("STEPTRAIL_KAFKA", "127.0.0.1:1")
    code, _, err = command("erase", "scans", DOC, "--yes")
    assert (code, "Nothing was erased" in err) == (UNREACHABLE, True)
    assert store.query("SELECT count() FROM erased_documents") == [(0,)]
    assert store.query("SELECT count() FROM retention_changes") == [(0,)]
    assert store.query("SELECT count() FROM steps") == [(2,)]


def test_retention_shows_changes_first_makes_them_with_yes_and_a_hold_goes_before(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Rules, what is stored, Kafka's own retention, and what went, as JSON and for people."""
    with projecting(workspace):
        emit(workspace, "a", "b")
        projected(workspace, store)
    store.command(
        "INSERT INTO steps SELECT * REPLACE (broker_time - INTERVAL 100 DAY AS broker_time, kafka_offset + 1000 AS "
        "kafka_offset) FROM steps"
    )
    code, out, _ = command("retention", "set", "scans", "90d", "--json")
    told = json.loads(out)
    assert (code, told["dry_run"], told["removed"]) == (OK, True, [])
    assert {(each["table"], each["rows"]) for each in told["expired"]} == {("steps", 4)}
    assert json.loads(command("retention", "--json")[1])["pipelines"][0]["days"] is None
    assert command("retention", "hold", "scans", "--reason", "case 4711")[0] == OK
    assert command("retention", "set", "scans", "90d", "--yes")[0] == OK
    assert store.query("SELECT count() FROM steps") == [(8,)]
    shown = command("retention")[1]
    assert "legal hold" in shown
    assert f"Kafka keeps {Topics(workspace.topic_prefix).steps.name} for 30 days" in shown
    code, out, _ = command("retention", "release", "scans", "--yes", "--json")
    told = json.loads(out)
    assert {each["table"]: each["rows"] for each in told["removed"]} == {"steps": 4}
    assert store.query("SELECT count() FROM steps") == [(4,)]
    [rule] = told["pipelines"]
    assert (rule["days"], rule["own"], rule["held"], rule["events"]) == (90, True, False, 4)
    code, _, err = command("retention", "set", "scans", "7d", "--yes")
    assert (code, "longer than the shortest rule" in err) == (OK, True)


@ONLY_IN_TEST_ALL
def test_a_dead_letter_that_names_the_document_goes_and_does_not_come_back(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Its row; the message itself is on the dead-letter topic until that topic's retention ends."""
    with projecting(workspace):
        produce(workspace, [b"junk " + TEXT.encode()])
        until(lambda: store.query("SELECT 1 FROM dead_letters"), "dead letter in its table")
        [(pipeline, doc_id)] = store.query("SELECT pipeline, doc_id FROM dead_letters")
        assert command("erase", pipeline, doc_id, "--yes")[0] == OK
        assert store.query("SELECT count() FROM dead_letters") == [(0,)]
