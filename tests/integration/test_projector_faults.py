from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from faults.world import free_ports
from steptrail.consumers.ingest.poison_limit import TooMuchPoison
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.lag import projector_lag
from steptrail.deploy.terminal.failures import OK, UNREACHABLE
from steptrail.projections.clickhouse.errors import TopicRecreated
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics, ensure_topics
from support.command_line import Command, command_line
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import Projected, produce, projected, projecting, projectors
from support.proxy import Fate, store_behind_proxy
from support.waiting import until


def check_exact(store: Projected, sent: dict[tuple[int, int], Any]) -> None:
    """Every record once, no hole in the ledger."""
    until(lambda: store.count() >= len(sent), "projection of everything")
    assert store.offsets() == sorted(sent)
    ends = {p: max(o for q, o in sent if q == p) for p in range(6)}
    until(lambda: store.high_water() == ends, "ledger up to the end")
    assert store.ledger_holes() == []


def test_a_store_that_is_away_is_waited_for(workspace: Settings) -> None:
    """Cut in the middle of writing, again and again: it pauses, says so, goes on; nothing lost, nothing twice."""
    with store_behind_proxy(workspace) as (settings, proxy), projected(workspace) as store:
        sent = produce(workspace, (event_value() for _ in range(3_000)))
        with projectors(settings, STEPTRAIL_BATCH_MAX_EVENTS="500") as [projector]:
            until(lambda: store.count() > 0, "first rows")
            for _ in range(4):
                proxy.meet(Fate.REFUSE)
                refused = proxy.count(Fate.REFUSE)
                sent |= produce(workspace, (event_value() for _ in range(300)))
                until(lambda refused=refused: proxy.count(Fate.REFUSE) > refused, "refusal")  # type: ignore[misc]
                passed = proxy.count(Fate.PASS)
                proxy.meet(Fate.PASS)
                until(lambda passed=passed: proxy.count(Fate.PASS) > passed, "statement")  # type: ignore[misc]
                proxy.cut()
            check_exact(store, sent)
            said = projector.said()
            assert "waiting for ClickHouse at" in said
            assert "Traceback" not in said


def test_lag_says_what_the_projector_waits_for(
    workspace: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The one who waits is asked, so that it is known while the store is away, and for whoever asks."""
    [port] = free_ports(1)
    with store_behind_proxy(workspace) as (settings, proxy):
        produce(workspace, (event_value() for _ in range(60)))
        proxy.meet(Fate.REFUSE)
        with projectors(settings, STEPTRAIL_METRICS_PORT=str(port)) as [projector]:
            until(lambda: "waiting for ClickHouse at" in projector.said(), "want of the store")
            for asking in (workspace, settings):  # one of them reaches the store, the other does not
                command = wide_command_line(asking, monkeypatch, capfd)
                monkeypatch.setenv("STEPTRAIL_METRICS_PORT", str(port))
                code, out, err = command("lag", "--json")
                assert code == (UNREACHABLE if asking is settings else OK), err
                assert "ClickHouse at" in json.loads(out)["waiting_for"]
            _, out, _ = command("lag")
            assert "The projector waits: ClickHouse at" in " ".join(out.split())
            proxy.meet(Fate.PASS)
            until(lambda: json.loads(command("lag", "--json")[1])["waiting_for"] is None, "end of the wait")


def wide_command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return command_line(settings, monkeypatch, capture)


@ONLY_IN_TEST_ALL
def test_a_store_that_is_away_at_the_start_is_waited_for(workspace: Settings) -> None:
    """Started first, it stays in its group and begins when the store is there."""
    with store_behind_proxy(workspace) as (settings, proxy), projected(workspace) as store:
        proxy.meet(Fate.REFUSE)
        sent = produce(workspace, (event_value() for _ in range(600)))
        with projectors(settings) as [projector]:
            until(lambda: "waiting for ClickHouse" in projector.said(), "message that says what it waits for")
            away = projector_lag(settings)
            assert away.lag_events is None
            assert any("ClickHouse" in problem for problem in away.problems)
            assert away.group_state == "STABLE"
            proxy.meet(Fate.PASS)
            check_exact(store, sent)


def test_sigterm_finishes_commits_and_leaves(workspace: Settings) -> None:
    """Exit code 0 well within the deadline; the group's offsets are the ledger's; nothing of it left in the group."""
    sent = produce(workspace, (event_value() for _ in range(20_000)))
    with projected(workspace) as store:
        with projectors(workspace, STEPTRAIL_BATCH_MAX_EVENTS="2000") as [projector]:
            until(lambda: store.count() > 0, "first rows")
            projector.signal(signal.SIGTERM)
            assert projector.wait() == 0
            assert json.loads(projector.said().splitlines()[-1])["message"] == "stopped"
        topics = Topics(workspace.topic_prefix)
        questions = BrokerQuestions(workspace.kafka_config(), topics.steps.name)
        committed = questions.committed(topics.projector_group, range(6))
        assert {p: o - 1 for p, o in committed.items() if o is not None} == store.high_water()
        assert questions.group(topics.projector_group).members == ()
        with projectors(workspace):
            check_exact(store, sent)


def test_a_shutdown_keeps_its_deadline_when_the_store_hangs(workspace: Settings) -> None:
    """A statement that is never answered does not hold up the end."""
    with store_behind_proxy(workspace) as (settings, proxy), projected(workspace) as store:
        sent = produce(workspace, (event_value() for _ in range(1_000)))
        with projectors(settings, STEPTRAIL_SHUTDOWN_TIMEOUT_S="3") as [projector]:
            until(lambda: store.count() > 0, "first rows")
            proxy.meet(Fate.HANG)
            sent |= produce(workspace, (event_value() for _ in range(100)))
            until(lambda: proxy.count(Fate.HANG), "statement that hangs")
            projector.signal(signal.SIGTERM)
            assert projector.wait() == 0  # nobody has answered the statement
        with projectors(workspace):
            check_exact(store, sent)


def test_two_projectors_share_and_one_is_killed(workspace: Settings) -> None:
    """Each has partitions; after kill -9 of one the other has them all; every record once."""
    sent = produce(workspace, (event_value() for _ in range(3_000)))
    options = '{"session.timeout.ms": "6000"}'
    with (
        projected(workspace) as store,
        projectors(workspace, 2, STEPTRAIL_KAFKA_OPTIONS=options, STEPTRAIL_BATCH_MAX_EVENTS="200") as [
            one,
            two,
        ],
    ):
        topics = Topics(workspace.topic_prefix)
        questions = BrokerQuestions(workspace.kafka_config(), topics.steps.name)

        def shared() -> bool:
            members = questions.group(topics.projector_group).members
            return sorted(len(member.partitions) for member in members) == [3, 3]

        until(shared, "even share of the partitions")
        sent |= produce(workspace, (event_value() for _ in range(3_000)))
        one.signal(signal.SIGKILL)
        sent |= produce(workspace, (event_value() for _ in range(1_000)))
        check_exact(store, sent)
        assert two.process.poll() is None


def test_records_that_expired_are_a_gap_and_said(
    workspace: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Reading goes on behind it; log, table and `steptrail lag` say which offsets are missing; nothing else is."""
    produce(workspace, (event_value() for _ in range(600)))
    with projected(workspace) as store:
        with projectors(workspace) as [projector]:
            until(lambda: store.count() == 600, "projection")
            projector.signal(signal.SIGTERM)
            projector.wait()
        produce(workspace, (event_value() for _ in range(600)))  # 100 to 199 of each partition
        topic = Topics(workspace.topic_prefix).steps.name
        admin = AdminClient(workspace.kafka_config())
        for future in admin.delete_records([TopicPartition(topic, 2, 150)]).values():
            future.result()
        with projectors(workspace) as [projector]:
            until(lambda: store.count() == 1_150, "projection of what is left")
            [gap] = [
                json.loads(line) for line in projector.said().splitlines() if "offsets were lost" in line
            ]
            assert (gap["level"], gap["partition"]) == ("ERROR", 2)
            assert (gap["first_offset"], gap["last_offset"]) == (100, 149)
            until(lambda: store.high_water() == dict.fromkeys(range(6), 199), "ledger up to the end")
        assert expired(workspace) == [(2, 100, 149, "expired before they were read")]
        _, out, _ = wide_command_line(workspace, monkeypatch, capfd)("lag")
        shown = " ".join(out.split())
        assert "Partition 2 lacks 50 offsets, 100 to 149: expired before they were read" in shown
        # The next start has nothing more to say of it, and forgets nothing.
        with projectors(workspace):
            produce(workspace, (event_value() for _ in range(6)))
            until(lambda: store.count() == 1_156, "projection of more")
        assert expired(workspace) == [(2, 100, 149, "expired before they were read")]


def expired(settings: Settings) -> list[tuple[int, int, int, str]]:
    gaps = projector_lag(settings).as_dict()["gaps"]
    return [(gap["partition"], gap["first_offset"], gap["last_offset"], gap["reason"]) for gap in gaps]


def recreate(settings: Settings) -> None:
    topic = Topics(settings.topic_prefix).steps.name
    admin = AdminClient(settings.kafka_config())
    admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in admin.list_topics(timeout=10).topics, "deletion of the topic")

    def created() -> bool:
        try:
            ensure_topics(settings)
        except Exception:  # it may still be on its way out
            return False
        return True

    until(created, "creation of the topic")


def test_a_recreated_topic_stops_the_projector(workspace: Settings) -> None:
    """Its offsets mean something else: nothing of it is written, and the message says how to go on."""
    produce(workspace, (event_value() for _ in range(60)))
    with projected(workspace) as store:
        with projecting(workspace):
            until(lambda: store.count() == 60, "projection")
        recreate(workspace)
        sent = produce(workspace, (event_value() for _ in range(120)))
        with pytest.raises(TopicRecreated, match="--accept-topic") as raised, projecting(workspace) as thread:
            thread.join(30)
        assert store.count() == 60
        told = re.search(r"--accept-topic (\S+)", str(raised.value))
        assert told is not None
        with projecting(workspace, accept_topic=told[1]):
            until(lambda: store.count() == 60 + len(sent), "projection of the new topic")


@ONLY_IN_TEST_ALL
def test_what_the_group_committed_of_the_old_topic_leaves_out_nothing_of_the_new(workspace: Settings) -> None:
    """Offsets of old may outlive their topic: a projector that is on its way out still commits them."""
    topics = Topics(workspace.topic_prefix)
    topic, group = topics.steps.name, topics.projector_group
    produce(workspace, (event_value() for _ in range(60)))
    with projected(workspace) as store:
        with projecting(workspace):
            until(lambda: store.count() == 60, "projection")
        recreate(workspace)
        sent = produce(workspace, (event_value() for _ in range(120)))
        consumer = Consumer({**workspace.kafka_config(), "group.id": group})
        stale = [TopicPartition(topic, number, 10) for number in range(6)]
        consumer.commit(offsets=stale, asynchronous=False)
        consumer.close()
        with projecting(
            workspace, accept_topic=BrokerQuestions(workspace.kafka_config(), topic).describe().topic_id
        ):
            until(lambda: store.count() == 60 + len(sent), "projection of all of the new topic")


@ONLY_IN_TEST_ALL
def test_a_topic_recreated_while_it_is_read_stops_the_projector(workspace: Settings) -> None:
    """The same, with the projector running."""
    produce(workspace, (event_value() for _ in range(60)))
    with projected(workspace) as store:

        def recreate_under_it() -> None:
            with projecting(workspace) as thread:
                until(lambda: store.count() == 60, "projection")
                recreate(workspace)
                produce(workspace, (event_value() for _ in range(120)))
                thread.join(60)

        with pytest.raises(TopicRecreated):
            recreate_under_it()
        assert store.count() == 60


def test_too_much_poison_stops_the_projector(workspace: Settings) -> None:
    """Nothing of it is set aside, and a start with another limit goes on."""
    # The first of each partition is bad, so that the first batch has one whatever it holds.
    turns = (n // workspace.steps_partitions for n in range(240))
    sent = produce(workspace, (event_value() if turn % 2 else b"junk" for turn in turns))
    strict = workspace.with_values(poison_max_in_a_row=1)
    with projected(workspace) as store:
        with (
            pytest.raises(TooMuchPoison, match="STEPTRAIL_POISON_MAX_IN_A_ROW"),
            projecting(strict) as thread,
        ):
            thread.join(30)
        assert store.count() == 0
        with projecting(workspace):
            until(lambda: store.count() == len(sent) // 2, "projection of the good ones")
