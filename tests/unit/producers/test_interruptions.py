"""Exceptions that others raise into steptrail: they pass through, the same object, and the accounts stay exact."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from steptrail.producers import (
    InMemoryStorage,
    ProcessingStepManager,
    StepEmitter,
    common_secrets,
    fork_safe_logging,
    secret_keys,
)
from steptrail.producers.emit_only import EmitOnlyStorage
from steptrail.producers.storage import Storage
from steptrail.schemas import ProcessingStatus
from steptrail.schemas.wire.codec import decode_event
from steptrail.schemas.wire.framing import split_frame
from support.effort import ONLY_IN_TEST_ALL, effort
from support.interrupting import Interruption, TimeUp, interruptions
from support.journals import left_in
from support.waiting import PATIENCE_S

RUNNING, SUCCESS, ERROR = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS, ProcessingStatus.ERROR


class Strange:
    """A value of a user's whose code runs within add_step."""

    def __repr__(self) -> str:
        return "".join(reversed("egnarts"))


class Faulty:
    def __repr__(self) -> str:
        raise TimeUp("a fault of the value's own")


EVENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "values": {"details": {"n": [1, 2], "x": Strange(), 3: float("nan")}, "metrics": {"ms": 1.5}},
    "secrets": {
        "details": {"password": "hunter2", "depends_on": ["a"]},
        "error_message": "AKIAABCDEFGHIJKLMNOP",
    },
    "long": {"details": {"text": "x" * 300_000}, "error_message": "é" * 100_000},
}


@pytest.fixture
def kafka() -> Iterator[EmitOnlyStorage]:
    options = {"test.mock.num.brokers": "1", "linger.ms": "0"}
    with EmitOnlyStorage(kafka_options=options, redact=[secret_keys(), common_secrets()]) as emitter:
        emitter.emit("first", "s", RUNNING)
        assert emitter.flush(PATIENCE_S) == 0
        yield emitter


@pytest.fixture
def journalled(tmp_path: Path) -> Iterator[EmitOnlyStorage]:
    with EmitOnlyStorage(
        kafka_options={"test.mock.num.brokers": "1", "linger.ms": "0"}, journal_dir=str(tmp_path / "journal")
    ) as emitter:
        emitter.emit("first", "s", RUNNING)
        assert emitter.flush(PATIENCE_S) == 0
        yield emitter
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [
        TimeUp,
        pytest.param(KeyboardInterrupt, marks=ONLY_IN_TEST_ALL),
        pytest.param(TimeoutError, marks=ONLY_IN_TEST_ALL),
    ],
)
@pytest.mark.parametrize("name", EVENTS)
def test_at_every_point_of_add_step(kafka: EmitOnlyStorage, name: str, kind: type[BaseException]) -> None:
    """Wherever an exception is raised into add_step it comes out, and whatever was accepted is delivered."""
    manager = ProcessingStepManager(kafka)
    points = 0
    for interruption in interruptions(kind):
        came_out = interruption.run(lambda: manager.add_step("doc", "ocr", SUCCESS, **EVENTS[name]))
        assert came_out is (interruption.where is not None), interruption.where
        assert kafka.accounting().balanced, interruption.where
        points += 1
    assert points > 20
    manager.add_step("doc", "ocr", SUCCESS)
    assert kafka.flush(PATIENCE_S) == 0
    accounting = kafka.accounting()
    assert not accounting.dropped
    assert accounting.delivered == accounting.accepted


@pytest.mark.parametrize("kind", [TimeUp, pytest.param(TimeoutError, marks=ONLY_IN_TEST_ALL)])
def test_at_every_point_with_a_journal(journalled: EmitOnlyStorage, kind: type[BaseException]) -> None:
    """With a journal, too, each accepted event is sent once, and its record goes once it is delivered."""
    journal = journalled._transport.journal
    assert journal is not None
    points = 0
    for interruption in interruptions(kind):
        # Large enough for segments to come to their end.
        came_out = interruption.run(
            lambda: journalled.emit("doc", "ocr", SUCCESS, details={"x": "y" * 60_000})
        )
        assert came_out is (interruption.where is not None), interruption.where
        assert journalled.accounting().balanced, interruption.where
        points += 1
    assert points > 20
    assert journalled.flush(PATIENCE_S) == 0
    accounting = journalled.accounting()
    assert accounting.delivered == accounting.accepted
    assert (accounting.dropped, accounting.unjournalled) == ({}, 0)
    assert (
        sum(journalled.delivered_offsets().values()) + len(journalled.delivered_offsets())
        == accounting.accepted
    )
    assert journal.unreported() == 0


def test_at_every_point_of_a_line_and_of_a_fork() -> None:
    """The next line of any thread is written at once: nothing stays locked, wherever an exception came in between."""
    log = fork_safe_logging.fork_safe_log("steptrail.emitter")

    def is_free() -> bool:
        if is_free := fork_safe_logging._gate.acquire(blocking=False):
            fork_safe_logging._gate.release()
        return is_free

    for does in (lambda: log.error("a line"), fork_safe_logging.before_fork):
        for interruption in interruptions():
            interruption.run(does)
            fork_safe_logging.after_fork_in_parent()
            with ThreadPoolExecutor(1) as other:
                assert other.submit(is_free).result(), interruption.where


def test_at_every_point_of_a_journalled_event_without_room(tmp_path: Path) -> None:
    """What the client has no room for waits in the journal, once, whatever comes in between, for the next process."""
    emitter = StepEmitter(kafka="127.0.0.1:1", queue_max_messages=1, journal_dir=str(tmp_path))
    emitter.emit("doc", "ocr", RUNNING)
    for interruption in interruptions():
        came_out = interruption.run(lambda: emitter.emit("doc", "ocr", SUCCESS))
        assert came_out is (interruption.where is not None), interruption.where
        accounting = emitter.accounting()
        assert accounting.balanced, interruption.where
        assert accounting.pending == 1, interruption.where
    emitter.close(0)
    accounting = emitter.accounting()
    assert accounting.balanced
    assert set(accounting.dropped) <= {"interrupted"}
    left = [decode_event(value[split_frame(value).length :]).sequence for _, value in left_in(tmp_path)]
    assert len(left) == len(set(left)) == accounting.spooled
    assert accounting.spooled == accounting.accepted - sum(accounting.dropped.values())


@pytest.mark.thorough
def test_in_the_first_add_step() -> None:
    """Also while librdkafka is started no event is lost count of, no lock stays held, and the next event starts it."""
    for interruption in interruptions(every=effort(29, 5)):
        with StepEmitter(kafka_options={"test.mock.num.brokers": "1"}) as emitter:
            interruption.run(lambda: emitter.emit("doc", "ocr", SUCCESS))
            emitter.emit("doc", "ocr", SUCCESS)
            assert emitter.flush(PATIENCE_S) == 0, interruption.where
            accounting = emitter.accounting()
            assert accounting.balanced, interruption.where
            assert set(accounting.dropped) <= {"interrupted"}, interruption.where
            assert accounting.delivered >= 1, interruption.where


@pytest.mark.parametrize("name", EVENTS)
def test_at_every_point_of_the_twin(name: str) -> None:
    """The in-memory twin keeps what it accepted, once."""
    storage = InMemoryStorage(redact=[secret_keys(), common_secrets()])
    manager = ProcessingStepManager(storage)
    for interruption in interruptions():
        came_out = interruption.run(lambda: manager.add_step("doc", "ocr", SUCCESS, **EVENTS[name]))
        assert came_out is (interruption.where is not None), interruption.where
    sequences = [event.sequence for event in storage.events()]
    assert sequences == list(range(len(sequences)))
    assert storage.refused == 0


def test_at_every_point_of_a_dropped_event() -> None:
    """An event that has no room is counted once, as dropped, whatever comes in between."""
    emitter = StepEmitter(kafka="127.0.0.1:1", queue_max_messages=1)
    emitter.emit("doc", "ocr", RUNNING)
    for interruption in interruptions():
        came_out = interruption.run(lambda: emitter.emit("doc", "ocr", SUCCESS))
        assert came_out is (interruption.where is not None), interruption.where
        accounting = emitter.accounting()
        assert accounting.balanced, interruption.where
        assert accounting.pending == 1, interruption.where
    emitter.close(0)
    assert emitter.accounting().balanced


def steps_of(storage: InMemoryStorage, work: Callable[[], None]) -> None:
    with ProcessingStepManager(storage).step("doc", "ocr", details={"x": Strange()}) as step:
        step.metric("pages", 3)
        work()


@pytest.mark.parametrize("fails", [False, True])
def test_at_every_point_of_a_step(fails: bool) -> None:
    """A step that has begun has one ending, wherever `with` is interrupted; and no step is active afterwards."""
    from steptrail.producers import current_step

    def work() -> None:
        if fails:
            raise ValueError("the work's own")

    for interruption in interruptions():
        storage = InMemoryStorage()
        try:
            interruption.run(lambda: steps_of(storage, work))  # noqa: B023  run at once
        except ValueError:
            assert fails
        statuses = [event.status for event in storage.events()]
        assert statuses.count(RUNNING) <= 1, interruption.where
        if statuses:
            endings = [status for status in statuses if status is not RUNNING]
            assert len(endings) == 1, (interruption.where, statuses)
            assert len({event.execution_id for event in storage.events()}) == 1, interruption.where
        assert current_step() is None, interruption.where


@pytest.mark.thorough
@pytest.mark.parametrize("call", ["flush", "close"])
def test_in_flush_and_close(call: str) -> None:
    """An interrupted flush or close lets the exception out, and can be called again."""
    for interruption in interruptions(every=effort(41, 7)):
        emitter = StepEmitter(kafka_options={"test.mock.num.brokers": "1"})
        for _ in range(3):
            emitter.emit("doc", "ocr", SUCCESS)
        came_out = interruption.run(lambda: getattr(emitter, call)(PATIENCE_S))  # noqa: B023  run at once
        assert came_out is (interruption.where is not None), interruption.where
        if call == "flush":
            assert emitter.flush(PATIENCE_S) == 0, interruption.where
        emitter.close(PATIENCE_S)
        accounting = emitter.accounting()
        assert (accounting.delivered, accounting.pending) == (3, 0), interruption.where


@pytest.mark.parametrize("emitter", ["kafka", "journalled"])
def test_at_every_point_while_reports_are_served(emitter: str, request: pytest.FixtureRequest) -> None:
    """A report that is being served when an exception is raised is counted, once; a journal lets go of its record."""
    kafka: EmitOnlyStorage = request.getfixturevalue(emitter)
    transport = kafka._transport
    poller = transport._poller
    assert poller is not None
    poller.stop(destroy=False)  # so that nobody else serves them
    assert poller._thread is not None
    poller._thread.join(PATIENCE_S)
    for interruption in interruptions():
        for _ in range(3):
            kafka.emit("doc", "ocr", SUCCESS)
        deadline = time.monotonic() + PATIENCE_S

        def serve() -> None:
            while transport.counters.pending:
                transport._serve(poller)
                assert time.monotonic() < deadline  # noqa: B023

        interruption.run(serve)
        serve()
        accounting = kafka.accounting()
        assert accounting.delivered == accounting.accepted, interruption.where
        assert transport.journal is None or transport.journal.unreported() == 0, interruption.where


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.parametrize("emitter", ["kafka", "journalled"])
def test_signal_handlers_that_raise(emitter: str, request: pytest.FixtureRequest) -> None:
    """Real signals at real moments: none of 600 is swallowed or altered, and everything accepted is delivered."""
    kafka: EmitOnlyStorage = request.getfixturevalue(emitter)
    manager = ProcessingStepManager(kafka)
    raised = TimeUp()

    def limit(*_: object) -> None:
        raise raised

    before = signal.signal(signal.SIGALRM, limit)
    manager.add_step("doc", "ocr", RUNNING)
    recorded = 0
    try:
        for number in range(600):
            came = None
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + number * 1e-6)
                deadline = time.monotonic() + PATIENCE_S
                while time.monotonic() < deadline:
                    manager.add_step("doc", "ocr", SUCCESS, {"n": list(range(200)), "x": Strange()})
                    recorded += 1
            except BaseException as error:
                came = error
            assert came is raised
            raised.__traceback__ = raised.__context__ = None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert kafka.flush(PATIENCE_S) == 0
    accounting = kafka.accounting()
    assert accounting.delivered == accounting.accepted >= recorded
    assert not accounting.dropped


@pytest.mark.usefixtures("no_gc_callbacks")
def test_exceptions_from_another_thread(kafka: EmitOnlyStorage) -> None:
    """What PyThreadState_SetAsyncExc raises into add_step comes out too, though no frame shows who raised it."""
    manager = ProcessingStepManager(kafka)
    ready, ended = threading.Semaphore(0), threading.Semaphore(0)
    outcomes: list[BaseException] = []
    tries = 100

    def emit() -> None:
        for _ in range(tries):
            try:
                ready.release()
                while True:
                    manager.add_step("doc", "ocr", SUCCESS, {"n": list(range(200)), "x": Strange()})
            except BaseException as error:
                outcomes.append(error)
            ended.release()

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    assert thread.ident is not None
    for number in range(tries):
        assert ready.acquire(timeout=PATIENCE_S)
        time.sleep(number * 1e-5)
        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        assert raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp)) == 1
        assert ended.acquire(timeout=PATIENCE_S), "it was swallowed"
    thread.join(PATIENCE_S)
    assert [type(error) for error in outcomes] == [TimeUp] * tries
    assert kafka.flush(PATIENCE_S) == 0
    accounting = kafka.accounting()
    assert accounting.delivered == accounting.accepted
    assert not accounting.dropped


@pytest.mark.parametrize("storage", [InMemoryStorage, lambda: EmitOnlyStorage(kafka="127.0.0.1:1")])
def test_the_same_exception_as_a_fault_of_a_value(storage: Callable[[], Storage]) -> None:
    """Raised by a value's own code it is a strange value, and never comes out."""
    manager = ProcessingStepManager(storage())
    manager.add_step("doc", "ocr", ERROR, {"x": Faulty(), "y": [Faulty()]})
    manager.close(0)


def test_too_little_stack() -> None:
    """However near to the recursion limit, the event is recorded, refused, or never accepted; none is lost count of."""
    emitter = StepEmitter(kafka="127.0.0.1:1", queue_max_messages=1)
    emitter.emit("doc", "ocr", RUNNING)

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        else:
            emitter.emit("doc", "ocr", SUCCESS, details={"x": Strange()})

    for depth in range(700, 1000):
        with suppress(RecursionError):
            deeper(depth)
        accounting = emitter.accounting()
        assert accounting.balanced, depth
        assert accounting.pending == 1, depth
    emitter.close(0)


def test_interruption_is_told_where() -> None:
    """The tool itself: a point that is not reached leaves the call alone."""
    interruption = Interruption(TimeUp(), 10**9)
    assert not interruption.run(lambda: InMemoryStorage().emit("d", "s", SUCCESS))
    assert interruption.where is None
    assert interruption.points > 20
