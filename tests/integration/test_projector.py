from __future__ import annotations

import json
import struct
from urllib.error import HTTPError
from urllib.request import urlopen

from steptrail.consumers.loop.lag import projector_lag
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.consumed import event, event_value
from support.projecting import headers_of, produce, projected, projecting, read_all
from support.waiting import until


def test_every_event_is_projected_exactly_once(workspace: Settings) -> None:
    """Ten thousand events, more while it runs, none missing, none twice; the ledger ends where the topic does."""
    sent = produce(workspace, (event_value(doc_id=f"doc-{n}") for n in range(10_000)))
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.count() >= 10_000, "projection of the first events")
        sent |= produce(workspace, (event_value(doc_id=f"later-{n}") for n in range(500)))
        until(lambda: store.count() >= 10_500, "projection of the later events")
        assert store.offsets() == sorted(sent)
        ends = {p: max(o for q, o in sent if q == p) for p in range(6)}
        until(lambda: store.high_water() == ends, "ledger up to the end")
        assert store.ledger_holes() == []
        assert store.clickhouse.query("SELECT uniqExact(event_id) FROM steps") == [(10_500,)]


def test_a_restart_goes_on_where_it_was(workspace: Settings) -> None:
    """Stopped in between, the second one reads what the first one had not."""
    sent = produce(workspace, (event_value() for _ in range(2_000)))
    with projected(workspace) as store:
        with projecting(workspace):
            until(lambda: store.count() >= 2_000, "projection")
        sent |= produce(workspace, (event_value() for _ in range(1_000)))
        with projecting(workspace):
            until(lambda: store.count() >= 3_000, "projection of the rest")
        assert store.offsets() == sorted(sent)
        assert store.ledger_holes() == []


def damaged(field: bytes, by: bytes, **values: object) -> bytes:
    """An event in which the bytes `field`, which are in it once, are others of the same length."""
    value = event_value(**values)
    assert value.count(field) == 1
    assert len(field) == len(by)
    return value.replace(field, by)


def late(us: int) -> bytes:
    return frame_single_object(encode_event(event(timestamp=us)))


def status_99() -> bytes:
    value = event_value(doc_id="status", attempt=1)
    at = value.index(b"\x02\x04", value.index(b"extract") + 7 + 16)  # attempt 1, status SUCCESS
    return value[: at + 1] + b"\x7e" + value[at + 2 :]


POISON: dict[str, list[bytes | None]] = {
    "EMPTY": [None, b""],
    "BAD_FRAME": [b"hello, world", b"\xc3\x01\x00"],
    "UNKNOWN_SCHEMA": [b"\xc3\x01" + struct.pack("<Q", 1) + event_value()[10:], b"\x00\x00\x00\x00\x07abc"],
    "TRUNCATED": [event_value()[:-1], event_value()[:60]],
    "TRAILING_BYTES": [event_value() + b"\x00", event_value() + event_value()[10:]],
    "TOO_LARGE": [event_value(details=json.dumps({"x": "y" * 950_000}))],
    "BAD_UTF8": [damaged(b"doc-bad", b"doc-\xff\xfe!", doc_id="doc-bad")],
    "BAD_JSON": [
        event_value(details="{not json}"),
        event_value(metrics="[1]"),
        event_value(details='{"n": 1e999}'),
    ],
    "BAD_STATUS": [status_99()],
    "BAD_TIMESTAMP": [late(2**62), late(-(2**62))],
    "BAD_VALUE": [event_value(attempt=0)],
}


def test_poison_goes_alone_and_the_rest_goes_on(workspace: Settings) -> None:
    """Of every kind, mixed into good events: each bad one unchanged in the dead letters with its reason."""
    bad = [(reason, value) for reason, values in POISON.items() for value in values]
    values: list[bytes | None] = []
    for reason_and_value in bad:
        values += [event_value(doc_id="good") for _ in range(50)]
        values.append(reason_and_value[1])
    sent = produce(workspace, values, headers=[("source", b"test")])
    topics = Topics(workspace.topic_prefix)
    with projected(workspace) as store, projecting(workspace):
        good = len(values) - len(bad)
        until(lambda: store.count() >= good, "projection of the good ones")
        ends = {p: max(o for q, o in sent if q == p) for p in range(6)}
        until(lambda: store.high_water() == ends, "ledger up to the end")
        assert store.count() == good
        assert store.ledger_holes() == []
    letters = read_all(workspace, topics.dlq.name)
    places = set()
    for letter in letters:
        headers = headers_of(letter)
        place = (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
        original = sent[place]
        assert letter.value() == original.value()
        assert letter.key() == original.key()
        assert headers["source"] == "test"
        assert headers["__connect.errors.topic"] == topics.steps.name
        assert original.value() in POISON[headers["steptrail.reason"]]
        places.add(place)
    assert len(letters) == len(places) == len(bad)
    with projected(workspace) as store:
        assert store.offsets() == sorted(set(sent) - places)


def test_a_partition_of_nothing_but_poison_advances(workspace: Settings) -> None:
    """The ledger and the group pass it, so that it is not read again."""
    produce(workspace, (b"junk" for _ in range(60)))
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.high_water() == dict.fromkeys(range(6), 9), "ledger past the poison")
        assert store.count() == 0
    assert len(read_all(workspace, Topics(workspace.topic_prefix).dlq.name)) == 60


def test_clocks_that_are_years_off_refuse_no_batch(workspace: Settings) -> None:
    """Their events are stored with the time they say, each beside one of a right clock."""
    year_us = 365 * 86_400 * 1_000_000
    now_us = 1_760_000_000_000_000
    times: list[int] = []
    with projected(workspace) as store, projecting(workspace):
        for years in (-100, -1, 1, 100):
            times.extend([now_us, now_us + years * year_us])
            produce(workspace, [event_value(timestamp=time_us) for time_us in times[-2:]])
            until(lambda: store.count() == len(times), "projection")
        sql = "SELECT toUnixTimestamp64Micro(timestamp) FROM steps ORDER BY 1"
        assert [int(us) for (us,) in store.clickhouse.query(sql)] == sorted(times)
    assert read_all(workspace, Topics(workspace.topic_prefix).dlq.name) == []


def test_progress_is_visible(workspace: Settings) -> None:
    """Metrics, status and health over HTTP while it runs, and the lag from outside."""
    settings = workspace.with_values(metrics_port=0)
    produce(settings, (event_value() for _ in range(600)))
    before = projector_lag(settings)
    assert before.lag_events == 600
    assert before.lag_seconds is not None
    assert before.lag_seconds > 0
    assert before.problems == ()
    import logging

    ports: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "serving metrics":
                ports.append(vars(record)["port"])

    logger = logging.getLogger("steptrail.consumers.projector")
    handler = Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with projected(settings) as store, projecting(settings):
            until(lambda: store.count() == 600, "projection")
            [port] = ports

            def get(path: str) -> str:
                try:
                    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                        return str(answer.read().decode())
                except HTTPError as error:
                    return f"{error.code} {error.read().decode()}"

            until(lambda: get("/readyz") == '{"ok":true}', "readiness")
            assert get("/healthz") == '{"ok":true}'
            until(
                lambda: json.loads(get("/status"))["partitions"].get("5", {}).get("lag_events") == 0, "status"
            )
            exposed = get("/metrics")
            assert "steptrail_projector_projected_total 600.0" in exposed
            assert 'steptrail_projector_lag_events{partition="3"} 0.0' in exposed
            assert "steptrail_projector_running 1.0" in exposed
            after = projector_lag(settings, status_url=f"http://127.0.0.1:{port}/status")
            assert (after.lag_events, after.lag_seconds, after.group_state) == (0, 0.0, "STABLE")
            assert sorted(p for member in after.members for p in member.partitions) == list(range(6))
            assert after.waiting_for is None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
