"""With a real schema registry: framing, resolving, and what happens while it is away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from steptrail.consumers.dlq.redrive import Terms
from steptrail.consumers.dlq.service import DeadLetterService
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.producers import StepEmitter
from steptrail.producers.delivery.registered_frame import RegisteredFrame
from steptrail.projections.stores.dead_letter_store import Author, Selection
from steptrail.schemas import (
    STEP_EVENT_SCHEMA,
    ConfigurationError,
    EventDecodeError,
    ProcessingStatus,
    Settings,
    Topics,
)
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX, frame_confluent, split_frame
from steptrail.schemas.wire.registry import (
    RegistryUnavailable,
    SchemaRefused,
    SchemaRegistry,
    UnknownSchemaId,
    subject_of,
)
from support.consumed import event, event_value
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import headers_of, produce, projected, projecting, read_all
from support.registry import Registry, registry_server
from support.waiting import until

OTHER = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "string"}]}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def settings(workspace: Settings, registry: Registry) -> Settings:
    return workspace.with_values(schema_registry=registry.url)


def emit(emitter: StepEmitter, count: int, doc: str = "doc") -> None:
    for number in range(count):
        emitter.emit(doc_id=f"{doc}-{number}", step_name="ocr", status=ProcessingStatus.SUCCESS)
    assert emitter.flush(30) == 0


def emit_until_registered(emitter: StepEmitter) -> None:
    """One event, and then none before the registry has answered."""
    emit(emitter, 1, "first")
    registered = emitter._registered
    assert registered is not None
    until(lambda: registered.known, "answer of the registry")
    until(lambda: emitter._max_message == emitter.settings.max_event_bytes + 5, "change of the frame")


def values(settings: Settings) -> list[bytes]:
    return [m.value() or b"" for m in read_all(settings, Topics(settings.topic_prefix).steps.name)]


def test_ids_and_schemas(settings: Settings) -> None:
    """Registering twice gives the same id, by which the schema is found; what is not there is told apart."""
    asked = SchemaRegistry(settings)
    subject = subject_of(settings.topic_prefix)
    with pytest.raises(SchemaRefused, match="not found"):
        asked.look_up(subject, STEP_EVENT_SCHEMA)
    found = asked.register(subject, STEP_EVENT_SCHEMA)
    again = SchemaRegistry(settings)
    assert again.register(subject, STEP_EVENT_SCHEMA) == found
    assert again.look_up(subject, STEP_EVENT_SCHEMA) == found
    assert again.schema(found) == STEP_EVENT_SCHEMA
    with pytest.raises(UnknownSchemaId):
        again.schema(987_654)
    with pytest.raises(SchemaRefused):
        again.register(
            subject, {"type": "record", "name": "X", "fields": [{"name": "a", "type": "nonsense"}]}
        )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "{}/wrong/path", "http://127.0.0.1:1,http://127.0.0.1:2"]
)
def test_a_registry_that_is_not_there_is_no_answer(settings: Settings, registry: Registry, url: str) -> None:
    """Neither a refused connection nor a page that is not found says that a schema is unknown."""
    elsewhere = settings.with_values(schema_registry=url.format(registry.url.partition("/apis")[0]))
    with pytest.raises(RegistryUnavailable):
        SchemaRegistry(elsewhere).schema(1)
    with pytest.raises(RegistryUnavailable):
        SchemaRegistry(elsewhere).register("x", STEP_EVENT_SCHEMA)


def test_events_are_framed_by_id_and_any_tool_reads_them(settings: Settings) -> None:
    """From the registry's answer on; confluent-kafka's own deserializer takes them as they are."""
    with StepEmitter(settings) as emitter:
        emit_until_registered(emitter)
        emit(emitter, 50)
    found = values(settings)
    framed = [value for value in found if value.startswith(b"\0")]
    assert len(framed) == 50
    assert [value[:10] for value in found if not value.startswith(b"\0")] == [SINGLE_OBJECT_PREFIX]
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": settings.schema_registry}))
    context = SerializationContext(Topics(settings.topic_prefix).steps.name, MessageField.VALUE)
    read = deserialize(framed[0], context)
    assert isinstance(read, dict)
    assert read["doc_id"].startswith("doc-")
    assert read["status"] == "SUCCESS"


def test_both_framings_are_projected(settings: Settings) -> None:
    """Those of the registry, those without, through a restart; nothing is set aside."""
    with StepEmitter(settings) as emitter:
        emit_until_registered(emitter)
        emit(emitter, 300)
    produce(settings, (event_value(doc_id="plain") for _ in range(200)))
    with projected(settings) as store:
        with projecting(settings):
            until(lambda: store.count() == 501, "projection")
        with StepEmitter(settings) as emitter:
            emit(emitter, 100, "later")  # known in this process: from the first event on
        with projecting(settings):
            until(lambda: store.count() == 601, "projection after a restart")
    assert sum(value.startswith(b"\0") for value in values(settings)) == 400
    assert read_all(settings, Topics(settings.topic_prefix).dlq.name) == []


def letters(settings: Settings) -> list[tuple[str, Message]]:
    dlq = read_all(settings, Topics(settings.topic_prefix).dlq.name)
    return [(headers_of(letter)["steptrail.reason"], letter) for letter in dlq]


def test_ids_that_mean_no_event_are_dead_letters(settings: Settings) -> None:
    """An id that the registry does not know, one of another schema, damage behind a good one: each alone."""
    asked = SchemaRegistry(settings)
    good = asked.register(subject_of(f"{settings.topic_prefix}.steps.v1"), STEP_EVENT_SCHEMA)
    other = asked.register(settings.topic_prefix, OTHER)
    body = encode_event(event())
    bad = [
        frame_confluent(4_000_000_000, body),
        frame_confluent(other, body),
        frame_confluent(good, body[:-1]),
        frame_confluent(good, body + b"\0"),
    ]
    mixed = [frame_confluent(good, encode_event(event())) for _ in range(100)]
    produce(settings, [*mixed, *bad, *mixed, event_value()])
    with projected(settings) as store, projecting(settings):
        until(lambda: store.count() == 201, "projection")
        until(lambda: len(letters(settings)) == 4, "dead letters")
        assert store.count() == 201
    found = letters(settings)
    assert sorted(reason for reason, _ in found) == [
        "TRAILING_BYTES",
        "TRUNCATED",
        "UNKNOWN_SCHEMA",
        "UNKNOWN_SCHEMA",
    ]
    assert sorted(letter.value() or b"" for _, letter in found) == sorted(bad)
    told = [headers_of(letter)["__connect.errors.exception.message"] for _, letter in found]
    assert any("that of Other, not of StepEvent" in each for each in told)


def test_without_a_registry_its_ids_are_dead_letters(workspace: Settings) -> None:
    """Nobody can be asked, and that is said."""
    produce(workspace, [frame_confluent(1, encode_event(event())), event_value()])
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.count() == 1, "projection")
        until(lambda: letters(workspace), "dead letter")
    [(reason, letter)] = letters(workspace)
    assert reason == "UNKNOWN_SCHEMA"
    assert "none is configured" in headers_of(letter)["__connect.errors.exception.message"]


def test_a_frozen_registry_is_a_pause(settings: Settings, registry: Registry) -> None:
    """Nothing is set aside and nothing committed past it; it goes on when the registry does."""
    asked = SchemaRegistry(settings)
    good = asked.register(subject_of(f"{settings.topic_prefix}.steps.v1"), STEP_EVENT_SCHEMA)
    assert registry.process is not None
    registry.process.send_signal(signal.SIGSTOP)
    try:
        produce(settings, [frame_confluent(good, encode_event(event())) for _ in range(60)])
        with projected(settings) as store, projecting(settings.with_values(metrics_port=0)):
            # The client gives up after five seconds.
            with pytest.raises(TimeoutError):
                until(lambda: store.count() or letters(settings), "anything", timeout=8)
            registry.process.send_signal(signal.SIGCONT)
            until(lambda: store.count() == 60, "projection")
    finally:
        registry.process.send_signal(signal.SIGCONT)
    assert letters(settings) == []


@ONLY_IN_TEST_ALL
def test_emitters_do_not_wait_for_a_registry(
    workspace: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away at the start: events go in the other framing, none is held back or lost; later ones are framed by id."""
    monkeypatch.setattr("steptrail.producers.delivery.registered_frame.LAST_RETRY_S", 1.0)
    with registry_server(tmp_path) as late:
        late.kill()
        settings = workspace.with_values(schema_registry=late.url)
        with StepEmitter(settings) as emitter:
            emit(emitter, 100, "before")
            assert emitter.accounting().delivered == 100
            late.start()
            emit_until_registered(emitter)
            emit(emitter, 50, "after")
            assert emitter.accounting().delivered == 151
    found = values(settings)
    assert len(found) == 151
    assert sum(value.startswith(SINGLE_OBJECT_PREFIX) for value in found) == 101


def test_emitters_may_be_forbidden_to_register(settings: Settings) -> None:
    """Then they only look it up, and frame by id once somebody has registered it."""
    only_look = settings.with_values(schema_registry_register=False)
    subject = subject_of(f"{settings.topic_prefix}.steps.v1")
    with StepEmitter(only_look) as emitter:
        emit(emitter, 5, "before")
        registered = emitter._registered
        assert isinstance(registered, RegisteredFrame)
        assert registered.known is None
        with pytest.raises(SchemaRefused):
            SchemaRegistry(settings).look_up(subject, STEP_EVENT_SCHEMA)
        SchemaRegistry(settings).register(subject, STEP_EVENT_SCHEMA)
        emit_until_registered(emitter)
        emit(emitter, 5, "after")
    assert sum(value.startswith(b"\0") for value in values(settings)) == 5


def test_forked_children_know_what_was_found_before(settings: Settings) -> None:
    """Their first event is framed by id already."""
    with StepEmitter(settings) as emitter:
        emit_until_registered(emitter)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                emit(emitter, 3, "child")
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    assert sum(value.startswith(b"\0") for value in values(settings)) == 3


def test_the_extra_is_asked_for_by_name(registry: Registry) -> None:
    """Without the client's libraries the emitter says at once what to install."""
    script = (
        "import sys\n"
        "sys.modules['httpx2'] = sys.modules['httpx'] = sys.modules['authlib'] = None\n"
        "from steptrail.producers import StepEmitter\n"
        "StepEmitter(schema_registry='http://127.0.0.1:1')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ConfigurationError.__name__ in ran.stderr
    assert "pip install 'steptrail[registry]'" in ran.stderr


def test_letters_of_an_unknown_schema_arrive_once_it_is_known(
    settings: Settings, workspace: Settings
) -> None:
    """Set aside by a projector without the registry, redriven once there is one that has it."""
    with StepEmitter(settings) as emitter:
        emit_until_registered(emitter)
        emit(emitter, 30)
    with projected(workspace) as store:
        with projecting(workspace):
            until(
                lambda: store.clickhouse.query("SELECT count() FROM dead_letters") == [(30,)], "dead letters"
            )
            with DeadLetterService(workspace) as service:
                tally = service.redrive(Selection(), Author("blind", "me"), Terms())
                assert (tally.sent, tally.skipped) == (0, {"still_bad": 30})
        with projecting(settings), DeadLetterService(settings) as service:
            tally = service.redrive(Selection(), Author("run", "me"), Terms())
            assert (tally.sent, tally.skipped) == (30, {})
            outcome = service.outcome("run", tally.sent_up_to, timeout=300)
            assert outcome is not None
            assert (outcome.arrived, outcome.there_already, outcome.died_again) == (30, 0, 0)
            assert service.store.count(Selection()) == {}
        assert store.clickhouse.query("SELECT count(), uniqExact(event_id) FROM steps") == [(31, 31)]


def test_an_id_that_is_unknown_is_asked_for_again_later(settings: Settings) -> None:
    """Not with each message, but after a minute: it may be registered meanwhile."""
    now = 0.0
    schemas = WriterSchemas(SchemaRegistry(settings), clock=lambda: now)
    latest = SchemaRegistry(settings).register(f"{settings.topic_prefix}-a", {**OTHER, "name": "A"})
    frame = split_frame(frame_confluent(latest + 1, b""))

    def told() -> str:
        with pytest.raises(EventDecodeError) as caught:
            schemas.learn(frame)
        return caught.value.message

    assert "not found" in told()
    following = SchemaRegistry(settings).register(f"{settings.topic_prefix}-b", {**OTHER, "name": "B"})
    assert following == latest + 1
    assert "not found" in told()
    now = 61.0
    assert "that of B, not of StepEvent" in told()
    assert schemas.known(frame) is None
