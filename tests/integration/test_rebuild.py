"""`steptrail rebuild` on a real Kafka and a real engine, while a projector goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.deploy.terminal.failures import NO, OK, USAGE
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.command_line import Command, command_line
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import Projected, produce, projecting, projectors, read_all
from support.rebuilding import doubled, kill_when_read, load, rebuild_process, require_exact, shadow, unmerged
from support.waiting import until


@pytest.fixture
def store(workspace: Settings) -> Iterator[ClickHouse]:
    with unmerged(workspace) as clickhouse:
        yield clickhouse


@pytest.fixture
def command(
    workspace: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    return command_line(workspace, monkeypatch, capfd)


def ok(command: Command, *words: str) -> dict[str, object]:
    """Run `steptrail rebuild WORDS --json`, which must succeed; what it answers."""
    code, out, err = command("rebuild", *words, "--json")
    assert code == OK, err
    answer: dict[str, object] = json.loads(out)
    return answer


def refused(command: Command, *words: str) -> str:
    code, _, err = command("rebuild", *words)
    assert code == NO, err
    return err


def alter(store: ClickHouse, statement: str) -> None:
    store.command(f"ALTER TABLE {statement}", settings={"mutations_sync": 2})


@ONLY_IN_TEST_ALL
def test_during_load_killed_twice_its_diff_finds_what_differs_and_it_is_exchanged_and_back(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Each event is in the live tables once after each step, and no dead letter is sent again."""
    sent = set(produce(workspace, (event_value(doc_id=f"doc-{n}") for n in range(6_000))))
    junk = set(produce(workspace, [b"junk %d" % n for n in range(60)]))
    letters = Topics(workspace.topic_prefix).dlq.name
    with projectors(workspace):
        until(lambda: Projected(store).count() >= 6_000, "projection of the first events")
        until(lambda: len(read_all(workspace, letters)) == len(junk), "the dead letters")
        with load(workspace) as more:
            for offsets in (1_000, 3_000):
                process = rebuild_process(workspace, "start", "--yes", STEPTRAIL_BATCH_MAX_EVENTS="200")
                kill_when_read(workspace, store, process, offsets)
            assert ok(command, "start", "--yes")["state"] == "FILLED"
            assert ok(command, "diff")["differences"] == []
            alter(store, "steps DELETE WHERE doc_id = 'doc-7'")
            alter(store, "steps UPDATE worker = 'altered' WHERE doc_id = 'doc-8'")
            code, out, _ = command("rebuild", "diff", "--json")
            told = json.loads(out)
            assert code == NO
            assert [(d["only_live"], d["only_other"], d["changed"]) for d in told["differences"]] == [
                (0, 1, 1)
            ]
            reasons = {example["doc_id"]: example["reason"] for example in told["examples"]}
            assert "deleted or lost in the live one" in reasons["doc-7"]
            assert "changed: worker" in reasons["doc-8"]
            assert ok(command, "exchange", "--yes")["state"] == "EXCHANGED"
            assert ok(command)["side"] == "before"
        require_exact(store, sent | set(more))
        assert store.query("SELECT count() FROM steps WHERE worker = 'altered'") == [(0,)]
        with load(workspace) as later:
            assert ok(command, "back", "--yes")["state"] == "RETURNED"
        lost = sent - set(Projected(store).offsets())
        assert len(lost) == 1  # what was deleted there
        old = (sent | set(more) | set(later)) - lost
        until(lambda: Projected(store).count() >= len(old), "all records in the live table")
        assert doubled(store) == []
        assert Projected(store).offsets() == sorted(old)
        assert ok(command, "exchange", "--yes")["state"] == "EXCHANGED"
        assert doubled(store, shadow(store, "steps")) == []
        require_exact(store, sent | set(more) | set(later))
        assert ok(command, "drop", "--yes")["state"] is None
    assert Projected(store).ledger_holes() == []
    assert len(read_all(workspace, letters)) == len(junk)
    assert (
        store.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, '^(rebuild|before)_')"
        )
        == []
    )


def expire(settings: Settings, offset: int) -> None:
    """Have the topic let go of everything before `offset` of each partition."""
    topic = Topics(settings.topic_prefix).steps.name
    wanted = [TopicPartition(topic, number, offset) for number in range(settings.steps_partitions)]
    admin = AdminClient(settings.kafka_config())  # has to live until it has answered
    for future in admin.delete_records(wanted).values():
        future.result(60)


def test_what_the_topic_has_let_go_of_is_copied_from_the_live_tables(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """It says so beforehand; rows before are copied as they are, later ones are read; so it is on the way back."""
    sent = set(produce(workspace, (event_value(doc_id=f"doc-{n}") for n in range(600))))
    with projecting(workspace):
        require_exact(store, sent)
        expire(workspace, 40)
        alter(store, "steps UPDATE worker = 'altered' WHERE kafka_offset IN (39, 40)")
        told = ok(command, "start")
        assert (told["dry_run"], told["expired"], told["copies"], told["reads"]) == (True, 240, 240, 360)
        code, out, _ = command("rebuild", "start")
        assert (code, "240 offsets have expired from the topic" in out) == (OK, True)
        ok(command, "start", "--yes")
        ok(command, "exchange", "--yes")
        require_exact(store, sent)
        altered = "SELECT DISTINCT kafka_offset FROM steps WHERE worker = 'altered'"
        assert store.query(altered) == [(39,)]
        more = set(produce(workspace, (event_value(doc_id=f"more-{n}") for n in range(600))))
        require_exact(store, sent | more)
        expire(workspace, 150)
        ok(command, "back", "--yes")
        require_exact(store, sent | more)
        assert sorted(store.query(altered)) == [(39,), (40,)]


@ONLY_IN_TEST_ALL
def test_of_some_pipelines_or_since_a_time_the_rest_is_copied_as_it_is(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """What is altered in the live tables is mended where it is rebuilt, and stays elsewhere; all else is exact."""
    names = ("a", "b", "c")
    sent = set(produce(workspace, (event_value(pipeline=names[n % 3], doc_id=f"d{n}") for n in range(600))))
    with projecting(workspace):
        require_exact(store, sent)
        alter(store, "steps UPDATE worker = 'altered' WHERE kafka_offset < 10")
        ok(command, "start", "--yes", "--pipelines", "a", "--pipelines", "b")
        sent |= set(produce(workspace, (event_value(pipeline="c", doc_id=f"e{n}") for n in range(60))))
        require_exact(store, sent)
        ok(command, "exchange", "--yes")
        require_exact(store, sent)
        altered = "SELECT pipeline, count() FROM steps WHERE worker = 'altered' GROUP BY pipeline"
        assert store.query(altered) == [("c", 20)]
        ok(command, "drop", "--yes")
        [(since,)] = store.query(
            "SELECT toString(max(broker_time) + INTERVAL 1 MILLISECOND) FROM steps WHERE kafka_offset < 100"
        )
        alter(store, "steps UPDATE worker = 'later' WHERE kafka_offset >= 100")
        words = ("start", "--since", str(since).replace(" ", "T") + "Z")
        told = ok(command, *words)
        assert (told["copies"], told["reads"]) == (600, 60)
        ok(command, *words, "--yes")
        ok(command, "exchange", "--yes")
        require_exact(store, sent)
        assert store.query(altered) == [("c", 20)]
        assert store.query("SELECT count() FROM steps WHERE worker = 'later'") == [(0,)]


def test_what_cannot_be_done_is_refused_with_the_remedy_and_changes_nothing(
    workspace: Settings, store: ClickHouse, command: Command
) -> None:
    """Without a rebuild, before it caught up, after a migration, twice, with nothing to go back to."""
    for words in (("diff",), ("exchange", "--yes"), ("back", "--yes")):
        assert "there is no rebuild" in refused(command, *words)
    assert "no event of a pipeline" in refused(command, "start", "--yes", "--pipelines", "nobody")
    produce(workspace, (event_value(doc_id=f"d{n}") for n in range(600)))
    with projecting(workspace):
        until(lambda: Projected(store).count() >= 600, "projection")
        process = rebuild_process(workspace, "start", "--yes", STEPTRAIL_BATCH_MAX_EVENTS="10")
        kill_when_read(workspace, store, process, 10)
        assert "have not caught up" in refused(command, "exchange", "--yes")
        assert "nothing to go back to" in refused(command, "back", "--yes")
        code, _, err = command("rebuild", "start", "--yes", "--since", "1h")
        assert (code, "its --since and --pipelines stand" in err) == (USAGE, True)
        assert ok(command)["state"] in ("STARTED", "COPIED")
        ok(command, "start", "--yes")
        alter(store, "steps ADD COLUMN later UInt8 MATERIALIZED 1")
        assert "before a migration added later to steps" in refused(command, "exchange", "--yes")
        alter(store, "steps DROP COLUMN later")
        ok(command, "exchange", "--yes")
        assert "live already" in refused(command, "exchange", "--yes")
        assert "live already" in refused(command, "start", "--yes")
        ok(command, "drop", "--yes")
        assert "there is no rebuild" in refused(command, "back", "--yes")
