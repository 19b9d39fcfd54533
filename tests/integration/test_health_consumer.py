"""The health consumer on a real Kafka and the real engine."""

from __future__ import annotations

import random
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from steptrail.consumers.health.rules.watermark import SightPolicy
from steptrail.consumers.health.run import run_health
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.topics import Topics
from support.effort import ONLY_IN_TEST_ALL, effort
from support.judging import (
    HealthProcess,
    Source,
    Traffic,
    comparable,
    health_consumers,
    judged_by_hand,
    last_slot,
    messages,
    overall,
    said_twice,
    status_of,
    told,
    verdict_rows,
)
from support.proxy import Fate, store_behind_proxy
from support.topic_config import configure_topic
from support.waiting import PATIENCE_S, until


def reached(clickhouse: ClickHouse) -> int:
    """The slot of the latest change, once all of that slot is written."""
    [(slot,)] = clickhouse.query("SELECT max(slot) FROM health_verdicts")
    until(lambda: (last_slot(clickhouse) or 0) > slot, "the slot after it")
    return int(slot)


def judged_beyond(clickhouse: ClickHouse, slot: int | None) -> bool:
    return (last_slot(clickhouse) or 0) > (slot or 0)


def test_a_verdict_turns_on_real_errors(workspace: Settings) -> None:
    """HEALTHY, then CRITICAL with the evidence: on the topic, in the history, and by a replay the same."""
    with connect(workspace) as clickhouse, health_consumers(workspace) as [process]:
        with Traffic(workspace) as traffic:
            until(lambda: status_of(clickhouse) == "HEALTHY", "HEALTHY")
            traffic.failing = 0.9
            until(lambda: status_of(clickhouse) == "CRITICAL", "CRITICAL")
        verdict = until(lambda: overall(workspace), "a verdict on the topic")
        assert verdict["status"] == "CRITICAL"
        [finding] = verdict["findings"]
        assert finding["data"] == {"pipeline": "p", "step": None}
        assert "executions" in verdict["sentence"]
        slot = reached(clickhouse)
        state = clickhouse.query(
            "SELECT pipeline, step_name, toString(status) FROM health_state ORDER BY 1, 2"
        )
        assert state == [("", "", "CRITICAL"), ("p", "", "CRITICAL"), ("p", "parse", "CRITICAL")]
        assert comparable(verdict_rows(clickhouse), slot) == judged_by_hand(clickhouse, slot)
        assert said_twice(workspace) == []
        assert process.process.poll() is None


@ONLY_IN_TEST_ALL
@pytest.mark.thorough
def test_killed_at_random_it_says_the_same_and_nothing_twice(workspace: Settings) -> None:
    """Killed -9 again and again with a standby beside it: the rows are those of one who judged it all in one go."""
    rng = random.Random(7)
    with connect(workspace) as clickhouse, health_consumers(workspace, 2) as running:
        with Traffic(workspace, steps=("parse", "embed", "store")) as traffic:
            until(lambda: last_slot(clickhouse) is not None, "judging")
            for number in range(effort(3, 6)):
                traffic.failing = 0.8 if number % 3 else 0.0
                time.sleep(rng.uniform(2, 9))
                running.pop(0 if rng.random() < 0.7 else 1).close()
                running.append(HealthProcess(workspace))
            traffic.failing = 0.9
            until(lambda: status_of(clickhouse, "p", "parse") == "CRITICAL", "CRITICAL")
        slot = reached(clickhouse)
        expected = judged_by_hand(clickhouse, slot)
        assert "CRITICAL" in {status for _, _, _, status, *_ in expected}
        assert comparable(verdict_rows(clickhouse), slot) == expected
        assert said_twice(workspace) == []
        said = {(key, value["slot"]) for key, value in messages(workspace) if value and key != "\x1f"}
        assert {(f"{p}\x1f{s}", n) for n, p, s, *_ in expected if p} <= said

        # Replayed from the beginning, without what was remembered: the same rows, and not a word more.
        for process in running:
            process.close()
        before = len(messages(workspace))
        for table in ("health_snapshots", "health_verdicts", "health_sight"):
            clickhouse.command(f"TRUNCATE TABLE {table}")
        running[:] = [HealthProcess(workspace)]
        until(lambda: (last_slot(clickhouse) or 0) > slot, "the replay")
        assert comparable(verdict_rows(clickhouse), slot) == expected
        more = [entry for entry in messages(workspace)[before:] if entry[1] and entry[1]["slot"] <= slot]
        assert [key for key, _ in more if key != "\x1f"] == []


def test_events_sent_again_change_nothing(workspace: Settings) -> None:
    """Whatever slot the second copy falls into."""
    source = Source(workspace)
    with connect(workspace) as clickhouse, health_consumers(workspace):
        first = [source.event(S.ERROR) for _ in range(5)]
        source.send(*first)
        source.flush()
        slot = until(lambda: last_slot(clickhouse), "judging")
        until(lambda: judged_beyond(clickhouse, slot), "another slot")
        source.send(*first, *first)
        source.run(S.SUCCESS)
        source.flush()
        offsets = "SELECT sum(rows) FROM projection_ledger WHERE projection_name = 'health'"
        until(lambda: clickhouse.query(offsets) == [(17,)], "all of them")
        [(rows, events)] = clickhouse.query("SELECT count(), uniqExact(event_id) FROM health_events")
        assert (rows, events) == (7, 7)


def test_a_topic_with_its_producers_times_is_refused(workspace: Settings) -> None:
    """At the start, saying what to change."""
    topic = Topics(workspace.topic_prefix).steps.name
    configure_topic(workspace, topic, "message.timestamp.type", "CreateTime")
    with pytest.raises(ConfigurationError, match=r"steptrail topics --alter") as refused:
        run_health(workspace, threading.Event())
    assert f"{topic} has message.timestamp.type=CreateTime" in str(refused.value)
    assert "Nothing was read" in str(refused.value)


def test_producers_times_are_not_judged_by(workspace: Settings) -> None:
    """A topic changed while it is read: the consumer stops and says what to change; then it goes on, with all of it."""
    topic = Topics(workspace.topic_prefix).steps.name
    source = Source(workspace)
    with connect(workspace) as clickhouse:
        with health_consumers(workspace) as [process]:
            source.run(S.SUCCESS, 3)
            source.flush()
            until(partial(judged_beyond, clickhouse, last_slot(clickhouse)), "judging")
            configure_topic(workspace, topic, "message.timestamp.type", "CreateTime")
            source.run(S.SUCCESS, 3)
            source.flush()
            assert process.process.wait(PATIENCE_S) != 0
            assert f"{topic} has message.timestamp.type=CreateTime" in process.said()
        configure_topic(workspace, topic, "message.timestamp.type", "LogAppendTime")
        with health_consumers(workspace):
            counted = "SELECT sum(rows) FROM projection_ledger WHERE projection_name = 'health'"
            until(lambda: clickhouse.query(counted) == [(12,)], "all of them")
            until(partial(judged_beyond, clickhouse, last_slot(clickhouse)), "judging")


@ONLY_IN_TEST_ALL
def test_a_stopped_consumer_goes_on_where_it_was(workspace: Settings) -> None:
    """A snapshot at the end, read at the start; a snapshot that cannot be read is passed over for an older one."""
    with connect(workspace) as clickhouse:
        source = Source(workspace)
        for number in range(1, 3):
            with health_consumers(workspace) as [process]:
                source.run(S.SUCCESS, 3)
                source.flush()
                until(partial(judged_beyond, clickhouse, last_slot(clickhouse)), "judging")
                process.signal(signal.SIGTERM)
                assert process.process.wait(PATIENCE_S) == 0
                assert clickhouse.query("SELECT count() FROM health_snapshots") == [(number,)]
        clickhouse.command(
            "INSERT INTO health_snapshots SELECT 7, now64(3), max(slot) + 1, now64(3), '{}', 'x', 'AAAA' "
            "FROM health_snapshots"
        )
        with health_consumers(workspace) as [process]:
            until(lambda: "from_snapshot_of_slot" in process.said(), "a start")
            lines = told(process.said())
            [began] = [line for line in lines if "from_snapshot_of_slot" in line]
            assert began["steps"] == 1
            assert any("skipped a snapshot" in line["message"] for line in lines)


@ONLY_IN_TEST_ALL
def test_bad_rules_change_nothing_and_are_told(workspace: Settings, tmp_path: Path) -> None:
    """The file is read again when it changes; with a mistake the old rules stay, said with the verdict's sight."""
    path = tmp_path / "health.toml"
    path.write_text("[[rule]]\nstep = 'parse'\nsilenced = true\n")
    with (
        connect(workspace) as clickhouse,
        health_consumers(workspace, STEPTRAIL_HEALTH_RULES=str(path)) as [process],
        Traffic(workspace, steps=("parse", "embed")) as traffic,
    ):
        until(lambda: last_slot(clickhouse) is not None, "judging")
        path.write_text("[[rule]]\nstep = 'parse'\nsilenced = true\nerrors.bad = 100\n")
        sql = "SELECT reason FROM health_sight ORDER BY at DESC LIMIT 1"
        until(lambda: "line 4, rule[1].errors.bad" in clickhouse.query(sql)[0][0], "reason that says where")
        assert "rules refused" in process.said()
        traffic.failing = 1.0
        # Of two steps that fail alike the one is told of, so that there was reason to tell of the silenced one, too.
        until(lambda: status_of(clickhouse, "p", "embed") == "CRITICAL", "CRITICAL")
        assert status_of(clickhouse, "p", "parse") == "HEALTHY"
        path.write_text("")
        until(lambda: status_of(clickhouse, "p", "parse") == "CRITICAL", "CRITICAL")
        until(lambda: clickhouse.query(sql)[0][0] == "", "no reason any more")


@ONLY_IN_TEST_ALL
def test_without_the_store_everything_is_unknown(workspace: Settings) -> None:
    """Said on the topic by the consumer itself; known again, and caught up, when the store is back."""
    stop = threading.Event()
    with store_behind_proxy(workspace) as (settings, proxy), connect(workspace) as clickhouse:
        policy = SightPolicy(blind_after_s=20.0, seeing_within_s=15.0)
        thread = threading.Thread(target=run_health, args=(settings, stop), kwargs={"policy": policy})
        thread.start()
        try:
            with Traffic(workspace, rate=10.0):
                until(lambda: (overall(workspace) or {}).get("status") == "HEALTHY", "HEALTHY")
                proxy.meet(Fate.REFUSE)
                proxy.cut()
                until(lambda: (overall(workspace) or {}).get("status") == "UNKNOWN", "UNKNOWN")
                verdict = overall(workspace)
                assert verdict is not None
                assert verdict["findings"][0]["rule"] == "sight"
                assert "before that: HEALTHY" in verdict["sentence"]
                proxy.meet(Fate.PASS)
                until(lambda: (overall(workspace) or {}).get("status") == "HEALTHY", "HEALTHY")
            slot = reached(clickhouse)
            assert comparable(verdict_rows(clickhouse), slot) == judged_by_hand(clickhouse, slot)
            states = [
                state for (state,) in clickhouse.query("SELECT toString(state) FROM health_sight ORDER BY at")
            ]
            assert "BLIND" in states
            assert states[-1] == "SEEING"
            assert said_twice(workspace) == []
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()
