"""Dead letters on real parts: in the table, shown, sent again, dropped; each event once, whatever is killed."""

from __future__ import annotations

import random
import subprocess
import time
from typing import Any

import pytest
from confluent_kafka import TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.consumers.dlq.redrive import Terms
from steptrail.consumers.dlq.service import DeadLetterService
from steptrail.projections.stores.dead_letter_store import Author, Redriven, Selection
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics, ensure_topics
from steptrail.schemas.wire.headers import RESENT
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.letters import FIRST_OFFSET, dlq, dlq_process, dlq_text, set_aside
from support.projecting import Projected, headers_of, produce, projected, projecting, read_all
from support.waiting import until

GOOD = 20


def settled(store: Projected, letters: int) -> None:
    """Wait for so many letters in the table."""
    sql = "SELECT uniqExact(source_partition, source_offset) FROM dead_letters"
    until(lambda: store.clickhouse.query(sql) == [(letters,)], f"{letters} letters in the table")


def states(store: Projected) -> dict[str, int]:
    rows = store.clickhouse.query("SELECT state, count() FROM dead_letter_state GROUP BY state")
    return {str(state): int(n) for state, n in rows}


def each_once(store: Projected, count: int) -> None:
    """So many raw rows, each another event."""
    found = store.clickhouse.query("SELECT count(), uniqExact(event_id) FROM steps")
    assert found == [(count, count)]


def test_every_letter_is_a_row(workspace: Settings) -> None:
    """Where it was, why, of which document; through restarts each once; foreign messages too."""
    cut = event_value(doc_id="invoice-17", pipeline="ocr")[:-5]
    bad = [b"junk", cut, event_value(attempt=0), b""]
    sent = produce(workspace, [event_value(), *bad, event_value()])
    dlq_topic = Topics(workspace.topic_prefix).dlq.name
    with projected(workspace) as store:
        with projecting(workspace):
            settled(store, 4)
        foreign = workspace.with_values(steps_partitions=1)
        _produce_to(foreign, dlq_topic, b"somebody else's")
        with projecting(workspace):
            settled(store, 5)
        rows = store.clickhouse.rows("SELECT * FROM dead_letters ORDER BY reason, value_bytes")
        ledger = store.clickhouse.query(
            "SELECT max(last_offset) FROM projection_ledger WHERE projection_name = 'dead_letters'"
        )
    assert ledger == [(4,)]
    assert sorted(row["kafka_offset"] for row in rows) == list(range(5))
    by_reason: dict[str, dict[str, Any]] = {row["reason"]: row for row in rows}
    assert set(by_reason) == {"BAD_FRAME", "TRUNCATED", "BAD_VALUE", "EMPTY", "UNTOLD"}
    truncated = by_reason["TRUNCATED"]
    place = (truncated["source_partition"], truncated["source_offset"])
    assert sent[place].value() == cut
    assert truncated["topic"] == Topics(workspace.topic_prefix).steps.name
    assert (truncated["pipeline"], truncated["doc_id"], truncated["step_name"]) == (
        "ocr",
        "invoice-17",
        "extract",
    )
    assert truncated["event_id"] is not None
    assert truncated["position"] == len(cut)
    assert truncated["field"] in ("sequence", "emitter_id")
    assert truncated["source_topic_id"] != ""
    assert truncated["source_time"].timestamp() == pytest.approx(time.time(), abs=600)
    # What says nothing else is known by its key.
    assert (by_reason["BAD_FRAME"]["pipeline"], by_reason["BAD_FRAME"]["doc_id"]) == ("default", "doc-1")
    assert by_reason["UNTOLD"]["topic"] == dlq_topic


def _produce_to(settings: Settings, topic: str, value: bytes) -> None:
    from confluent_kafka import Producer

    producer = Producer(settings.kafka_config())
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def test_redrive_brings_each_event_once(workspace: Settings) -> None:
    """Dry run, run, run again: the counts agree with the store before and after, and nothing doubles."""
    produce(workspace, [event_value() for _ in range(6)])
    values = [event_value(doc_id=f"late-{n}") for n in range(GOOD)]
    set_aside(workspace, [*values, b"junk", b"more junk"], headers=[("traceparent", b"00-1"), ("n", None)])
    with projected(workspace) as store, projecting(workspace):
        settled(store, GOOD + 2)
        until(lambda: store.count() == 6, "projection of the events")
        assert states(store) == {"OPEN": GOOD + 2}
        listed = dlq(workspace, "list")
        assert len(listed) == GOOD + 2
        assert {each["reason"] for each in listed} == {"UNKNOWN_SCHEMA"}

        tried = dlq(workspace, "redrive", "--dry-run")
        assert (tried["matched"], tried["would_send"], tried["sent"]) == (GOOD + 2, GOOD, 0)
        assert tried["skipped"] == {"still_bad": 2}
        assert (tried["open_before"], tried["open_after"]) == (GOOD + 2, GOOD + 2)
        assert states(store) == {"OPEN": GOOD + 2}
        each_once(store, 6)

        done = dlq(workspace, "redrive", "--yes")
        assert (done["matched"], done["sent"], done["skipped"]) == (GOOD + 2, GOOD, {"still_bad": 2})
        assert (done["arrived"], done["there_already"], done["died_again"]) == (GOOD, 0, 0)
        assert (done["open_before"], done["open_after"]) == (GOOD + 2, 2)
        assert states(store) == {"OPEN": 2, "REDRIVEN": GOOD}
        each_once(store, 6 + GOOD)

        again = dlq(workspace, "redrive", "--yes")
        assert (again["matched"], again["sent"]) == (2, 0)
        # By force, what was sent already is sent once more: it is there already.
        forced = dlq(workspace, "redrive", "--state", "redriven", "--yes")
        assert (forced["sent"], forced["arrived"], forced["there_already"]) == (GOOD, 0, GOOD)
        each_once(store, 6 + GOOD)
    messages = [
        m for m in read_all(workspace, Topics(workspace.topic_prefix).steps.name) if m.headers() is not None
    ]
    assert len(messages) == 2 * GOOD
    for message in messages:
        assert message.partition() == 2
        assert message.headers() == [("traceparent", b"00-1"), ("n", None), (RESENT, b"1")]


def test_a_kill_between_sending_and_writing_it_down_doubles_nothing(workspace: Settings) -> None:
    """What was acknowledged and not written down is sent again by the next run, and is there already."""
    set_aside(workspace, [event_value(doc_id=f"late-{n}") for n in range(GOOD)])

    class Killed(Exception):
        pass

    def kill(letters: Any, author: Author) -> None:
        raise Killed

    with projected(workspace) as store, projecting(workspace):
        settled(store, GOOD)
        with DeadLetterService(workspace) as service:
            write_down = service.store.redriven
            service.store.redriven = kill  # type: ignore[method-assign]
            with pytest.raises(Killed):
                service.redrive(Selection(), Author("first", "me"), Terms())
            until(lambda: store.count() == GOOD, "events of the killed run")
            service.store.redriven = write_down  # type: ignore[method-assign]
            tally = service.redrive(Selection(), Author("second", "me"), Terms())
            assert tally.sent == GOOD
            outcome = service.outcome("second", tally.sent_up_to, timeout=300)
        assert outcome is not None
        assert (outcome.arrived, outcome.there_already, outcome.died_again) == (0, GOOD, 0)
        each_once(store, GOOD)
        assert states(store) == {"REDRIVEN": GOOD}


@ONLY_IN_TEST_ALL
def test_killed_again_and_again_it_goes_on(workspace: Settings) -> None:
    """kill -9 at random moments until it gets through: every event once, every letter written down."""
    rng = random.Random(7)
    count = 120
    set_aside(workspace, [event_value(doc_id=f"late-{n}") for n in range(count)])
    kills = 0
    with projected(workspace) as store, projecting(workspace):
        settled(store, count)
        while states(store).get("OPEN"):
            with dlq_process(workspace, "redrive", "--rate", "20", "--wait", "0", "--yes") as process:
                try:
                    process.wait(rng.uniform(1.5, 3.5) if kills < 4 else 120)
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
        assert kills >= 2
        until(lambda: store.count() >= count, "projection of all")
        sent = read_all(workspace, Topics(workspace.topic_prefix).steps.name)
        places = {(message.partition(), message.offset()) for message in sent}
        ends = max(offset for _, offset in places if offset is not None)
        until(lambda: store.high_water().get(2) == ends, "projection of what was sent twice")
        each_once(store, count)
        assert states(store) == {"REDRIVEN": count}
    assert len(sent) >= count


def test_what_only_comes_back_is_capped(workspace: Settings) -> None:
    """Sent by force it dies again, one more time in its header each time, until the cap."""
    produce(workspace, [b"junk"])
    with projected(workspace) as store, projecting(workspace):
        settled(store, 1)
        for times in (1, 2):
            told = dlq(workspace, "redrive", "--force", "--max-resent", "2", "--yes", code=1)
            assert (told["sent"], told["died_again"], told["arrived"]) == (1, 1, 0)
            settled(store, times + 1)
            [letter] = dlq(workspace, "list")
            assert letter["times_resent"] == times
        told = dlq(workspace, "redrive", "--force", "--max-resent", "2", "--yes")
        assert (told["sent"], told["skipped"]) == (0, {"loop_cap": 1})
        assert states(store) == {"REDRIVEN": 2, "OPEN": 1}
    last = max(
        read_all(workspace, Topics(workspace.topic_prefix).dlq.name),
        key=lambda message: message.offset() or 0,
    )
    assert headers_of(last)[RESENT] == "2"
    assert str(last.headers()).count("steptrail.reason") == 1


def test_dropped_letters_are_dealt_with(workspace: Settings) -> None:
    """Only those that are meant, with who and why; nothing is sent; it can be taken back."""
    values = [event_value(doc_id=f"late-{n}", pipeline="etl" if n % 2 else "ocr") for n in range(10)]
    set_aside(workspace, values)
    with projected(workspace) as store, projecting(workspace):
        settled(store, 10)
        assert dlq(workspace, "drop", "--pipeline", "etl", "--dry-run")["matched"] == 5
        assert states(store) == {"OPEN": 10}
        told = dlq(workspace, "drop", "--pipeline", "etl", "--note", "a test", "--yes")
        assert (told["matched"], told["dropped"]) == (5, 5)
        assert dlq(workspace, "drop", "--pipeline", "etl", "--yes")["dropped"] == 0
        place = f"2:{FIRST_OFFSET}"
        assert dlq(workspace, "drop", place, "--yes")["dropped"] == 1
        code, _, err = dlq_text(workspace, "drop", place, "9:9999", "--yes")
        assert (code, "2 of the places named have no such letter" in err) == (0, True)
        assert states(store) == {"OPEN": 4, "DROPPED": 6}
        assert {letter["pipeline"] for letter in dlq(workspace, "list")} == {"ocr"}
        dropped = dlq(workspace, "list", "--state", "dropped", "--pipeline", "etl")
        assert {letter["note"] for letter in dropped} == {"a test"}
        assert all("@" in letter["decided_by"] for letter in dropped)
        code, _, err = dlq_text(workspace, "drop", "--yes")
        assert code == 2
        assert "--all" in err
        assert dlq(workspace, "redrive", "--state", "dropped", "--pipeline", "etl", "--yes")["arrived"] == 5
        each_once(store, 5)
        told = dlq(workspace, "drop", "--all", "--yes")
        assert told["dropped"] == 4, told
        assert states(store) == {"DROPPED": 5, "REDRIVEN": 5}


def test_letters_are_found_by_what_is_told_of_them(workspace: Settings) -> None:
    """Reason, time, pipeline, partition and offsets, places; the newest first."""
    set_aside(workspace, [event_value() for _ in range(5)])
    produce(workspace, [b"junk", None])
    with projected(workspace) as store, projecting(workspace):
        settled(store, 7)

        def found(*argv: str) -> int:
            return len(dlq(workspace, "list", *argv))

        assert found("--reason", "unknown_schema") == 5
        assert found("--reason", "EMPTY", "--reason", "BAD_FRAME") == 2
        assert found("--partition", "2") == 5
        assert found("--offset", f"{FIRST_OFFSET + 1}-{FIRST_OFFSET + 2}") == 2
        assert found("--offset", f"-{FIRST_OFFSET}") == 3
        assert found(f"2:{FIRST_OFFSET}", f"2:{FIRST_OFFSET + 4}", "0:77") == 2
        assert found("--since", "1h") == 7
        assert found("--until", "1h") == 0
        assert found("--pipeline", "nobody") == 0
        assert found("--limit", "3") == 3
        newest = [letter["letter_offset"] for letter in dlq(workspace, "list")]
        assert newest == sorted(newest, reverse=True)


def test_show_takes_a_letter_apart(workspace: Settings) -> None:
    """Fields up to the fault, the byte that failed, every byte; as text and as JSON; raw as it was."""
    cut = event_value(doc_id="invoice-17")[:60]
    produce(workspace, [cut])
    with projected(workspace) as store, projecting(workspace):
        settled(store, 1)
        told = dlq(workspace, "show", "0:0")
        assert told["value"] == cut.hex()
        assert told["decodes_now"] is False
        assert [field["name"] for field in told["fields"]] == ["event_id", "pipeline", "doc_id", "step_name"]
        assert told["fields"][2] == {"name": "doc_id", "value": "invoice-17", "start": 34, "end": 45}
        assert told["fault"]["reason"] == "TRUNCATED"
        assert told["fault"]["position"] == 60
        assert told["fault"]["field"] == "execution_id"
        code, out, err = dlq_text(workspace, "show", "0:0")
        assert code == 0, err
        assert "invoice-17" in out
        assert "[--]" in out
        assert "execution_id" in out
        code, _, err = dlq_text(workspace, "show", "0:5")
        assert code == 1
        assert "no dead letter is known of 0:5" in err


def test_letters_that_expired_are_said_to_be_gone(workspace: Settings) -> None:
    """Their rows stay; they cannot be shown or sent."""
    set_aside(workspace, [event_value() for _ in range(6)])
    topic = Topics(workspace.topic_prefix).dlq.name
    with projected(workspace) as store, projecting(workspace):
        settled(store, 6)
        admin = AdminClient(workspace.kafka_config())
        [future] = admin.delete_records([TopicPartition(topic, 0, 4)]).values()
        future.result(30)
        told = dlq(workspace, "redrive", "--yes")
        assert (told["sent"], told["skipped"], told["arrived"]) == (2, {"gone": 4}, 2)
        code, _, err = dlq_text(workspace, "show", f"2:{FIRST_OFFSET}")
        assert code == 1
        assert "not in the dead-letter topic any more" in err


def test_a_letter_that_is_there_twice_counts_once(workspace: Settings) -> None:
    """Where an acknowledgement was lost the projector sends a letter again."""
    values = [event_value(doc_id=f"late-{n}") for n in range(3)]
    set_aside(workspace, values)
    set_aside(workspace, values)
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.clickhouse.query("SELECT count() FROM dead_letters") == [(6,)], "rows")
        assert states(store) == {"OPEN": 3}
        told = dlq(workspace, "redrive", "--yes")
        assert (told["matched"], told["sent"], told["arrived"]) == (3, 3, 3)
        each_once(store, 3)


def test_decisions_are_written_as_one_reads_them(workspace: Settings) -> None:
    """Who, when, and where the message went, for SQL."""
    set_aside(workspace, [event_value(doc_id="late")])
    with projected(workspace) as store, projecting(workspace):
        settled(store, 1)
        with DeadLetterService(workspace) as service:
            [letter] = service.store.letters(Selection(), limit=10)
            service.store.redriven([Redriven(letter, 2, 17)], Author("a-run", "me@here", "why"))
        [row] = store.clickhouse.rows("SELECT * FROM dead_letter_decisions")
    assert (row["decision"], row["run"], row["decided_by"], row["note"]) == (
        "REDRIVEN",
        "a-run",
        "me@here",
        "why",
    )
    assert (row["sent_partition"], row["sent_offset"]) == (2, 17)
    assert (row["source_partition"], row["source_offset"]) == (2, FIRST_OFFSET)


def test_a_fault_of_the_letters_does_not_stop_the_steps(workspace: Settings) -> None:
    """Their topic was deleted and made again: they wait for a person's word, beside events that go on."""
    dlq_topic = Topics(workspace.topic_prefix).dlq.name
    produce(workspace, [b"junk"])
    with projected(workspace) as store:
        with projecting(workspace):
            settled(store, 1)
        admin = AdminClient(workspace.kafka_config())
        [deleted] = admin.delete_topics([dlq_topic], operation_timeout=30).values()
        deleted.result(30)
        until(lambda: dlq_topic not in admin.list_topics(timeout=10).topics, "deletion")
        ensure_topics(workspace)
        set_aside(workspace, [event_value()])
        produce(workspace, [event_value() for _ in range(60)])
        with projecting(workspace):
            until(lambda: store.count() == 60, "projection of the steps")
            produce(workspace, [event_value() for _ in range(60)])
            until(lambda: store.count() == 120, "projection of more steps")
        assert store.clickhouse.query("SELECT count() FROM dead_letters") == [(1,)]
        now = admin.describe_topics(TopicCollection([dlq_topic]))[dlq_topic].result(30)
        with projecting(workspace, accept_topic=str(now.topic_id)):
            settled(store, 2)
