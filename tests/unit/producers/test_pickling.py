"""Managers that travel: pickled into other processes, copied in this one."""

from __future__ import annotations

import concurrent.futures
import copy
import logging
import multiprocessing
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from steptrail.producers import (
    InMemoryStorage,
    ProcessingStepManager,
    Redaction,
    StepEmitter,
    StepHandle,
    by_key,
    by_pattern,
    common_secrets,
    emit_only,
    hashed,
    secret_keys,
)
from steptrail.producers.reopening import KEPT
from steptrail.projections import open_storage
from steptrail.projections.storage import ProjectedStorage

NOBODY = "127.0.0.1:9"
PASSWORD = "a-password-to-travel"


def masked(_field: str, value: Any) -> Any:
    """A redactor as users write it."""
    return value


class Stops(Exception):
    pass


class OfAUser(ProcessingStepManager):
    """A manager with something of its own."""

    def __init__(self, team: str) -> None:
        super().__init__(emit_only(kafka=NOBODY, pipeline="invoices"), skip_on=Stops, traceback=True)
        self.team = team


def chain() -> list[Any]:
    return [
        secret_keys(),
        common_secrets(),
        by_key("customer*", replace=hashed("a salt that is kept")),
        by_pattern(r"IBAN (?P<secret>[A-Z0-9 ]+)", words=["iban"]),
        masked,
    ]


def opened() -> ProcessingStepManager:
    return ProcessingStepManager(
        open_storage(
            kafka=NOBODY,
            kafka_sasl_password=PASSWORD,
            pipeline="invoices",
            linger_ms=7.0,
            exit_flush_s=0.0,
            redact=Redaction(chain(), timeout_s=0.5),
        ),
        skip_on=Stops,
        traceback=True,
    )


def emitter_of(manager: ProcessingStepManager) -> StepEmitter:
    storage = manager.storage
    return storage.emitter if isinstance(storage, ProjectedStorage) else storage  # type: ignore[return-value]


def work(manager: ProcessingStepManager, doc_id: str) -> tuple[str, int, str, bool]:
    """What a task does with a manager that is its argument, in a process of its own."""
    with manager.step(doc_id, "work"):
        pass
    emitter = emitter_of(manager)
    password = emitter.settings.kafka_sasl_password
    return (
        emitter.emitter_id.hex(),
        emitter.accounting().accepted,
        manager.pipeline,
        password is not None and password.get_secret_value() == PASSWORD,
    )


def through(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def test_a_manager_arrives_with_all_that_was_set() -> None:
    """Settings, overrides, redactors, what exceptions mean: all arrive, and the emitter is another one."""
    manager = opened()
    arrived = through(manager)
    ours, theirs = emitter_of(manager), emitter_of(arrived)
    assert theirs.settings == ours.settings
    assert theirs.settings.linger_ms == 7.0
    assert arrived.pipeline == "invoices"
    assert theirs is not ours
    assert theirs.emitter_id != ours.emitter_id
    assert (arrived._meanings, arrived._traceback) == (manager._meanings, True)
    found = theirs.redaction
    assert found is not None
    redacted = found(
        b'{"password":"hunter2","customer_id":4711,"note":"IBAN DE02 1203"}', b"{}", "bearer abcdefghij", None
    )
    assert redacted is not None
    assert ours.redaction is not None
    assert redacted == ours.redaction(
        b'{"password":"hunter2","customer_id":4711,"note":"IBAN DE02 1203"}', b"{}", "bearer abcdefghij", None
    )
    assert b"hunter2" not in redacted[0]
    manager.close(0)
    arrived.close(0)


def test_a_spool_arrives(tmp_path: Path) -> None:
    """The folder of a spool is the same where the emitter arrives."""
    manager = ProcessingStepManager(emit_only(kafka=NOBODY, spool=tmp_path / "spool"))
    arrived = through(manager)
    assert emitter_of(arrived)._spool == emitter_of(manager)._spool
    manager.close(0)
    arrived.close(0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_manager_is_an_argument_of_other_processes(method: str) -> None:
    """Under each way to start a process a manager works as an argument: one emitter a process, whatever the tasks."""
    manager = opened()
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        done = [pool.submit(work, manager, f"doc {number}") for number in range(3)]
        found = [future.result(timeout=120) for future in done]
    emitters = {emitter for emitter, *_ in found}
    assert len(emitters) == 1
    assert emitters != {emitter_of(manager).emitter_id.hex()}
    assert [rest for _, *rest in found] == [[accepted, "invoices", True] for accepted in (2, 4, 6)]
    assert emitter_of(manager).accounting().accepted == 0
    manager.close(0)


def test_one_emitter_for_all_that_arrive() -> None:
    """Copies that arrive in one process share an emitter; one that was closed is opened again."""
    data = pickle.dumps(opened())
    first, second = pickle.loads(data), pickle.loads(data)
    assert emitter_of(first) is emitter_of(second)
    assert emitter_of(through(first)) is emitter_of(second)
    first.close(0)
    third = pickle.loads(data)
    assert not emitter_of(third).closed
    third.add_step("d", "s", "RUNNING")
    assert emitter_of(third).accounting().accepted == 1
    third.close(0)


def test_emitters_that_nobody_holds_are_few() -> None:
    """Of the emitters that arrived and that nobody holds some stay open, not all."""
    import gc
    import weakref

    found = [
        weakref.ref(emitter_of(through(ProcessingStepManager(emit_only(kafka=NOBODY)))))
        for _ in range(3 * KEPT)
    ]
    gc.collect()
    assert sum(ref() is not None for ref in found) == KEPT


def test_a_closed_manager_arrives_open() -> None:
    """What is pickled is how to open it."""
    manager = opened()
    manager.close(0)
    arrived = through(manager)
    assert not emitter_of(arrived).closed
    arrived.close(0)


def test_a_subclass_keeps_what_is_its_own() -> None:
    """A manager of a user's class arrives as one, with its attributes."""
    arrived = through(OfAUser("ocr"))
    assert type(arrived) is OfAUser
    assert (arrived.team, arrived.pipeline) == ("ocr", "invoices")
    arrived.close(0)


@pytest.mark.parametrize(
    "make", [opened, lambda: ProcessingStepManager(InMemoryStorage()), lambda: OfAUser("x")]
)
def test_copies_are_the_manager_itself(make: Any) -> None:
    """copy and deepcopy never make a second producer, of a manager, its storage, or what holds them."""
    manager = make()
    assert copy.copy(manager) is manager
    assert copy.deepcopy({"manager": manager})["manager"] is manager
    assert copy.deepcopy(manager.storage) is copy.copy(manager.storage) is manager.storage
    manager.close(0)


def test_a_redactor_that_cannot_travel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps a manager from being pickled is said, and what to do."""
    for name in [name for name in sys.modules if name.endswith("cloudpickle")]:  # which could do more
        monkeypatch.delitem(sys.modules, name)
    manager = ProcessingStepManager(
        emit_only(kafka=NOBODY, redact=[secret_keys(), lambda field, value: value])
    )
    with pytest.raises(pickle.PicklingError, match=r"redactor 1 .*open the storage in the process"):
        pickle.dumps(manager)
    manager.close(0)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_lives_in_one_process_says_so(protocol: int) -> None:
    """An in-memory storage and a step cannot be pickled, and say what to do; the step's handle can."""
    manager = ProcessingStepManager(InMemoryStorage())
    with pytest.raises(pickle.PicklingError, match=r"emit_only\(\)"):
        pickle.dumps(manager, protocol)
    with manager.step("d", "s") as step:
        with pytest.raises(pickle.PicklingError, match="handle"):
            pickle.dumps(step, protocol)
        handle = pickle.loads(pickle.dumps(step.handle, protocol))
    assert handle == step.handle
    assert type(handle) is StepHandle


def test_secrets_travel_and_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A pickle holds the passwords that it needs; no repr and no log line shows them."""
    caplog.set_level(logging.DEBUG)
    manager = opened()
    data = pickle.dumps(manager)
    assert PASSWORD.encode() in data
    arrived = pickle.loads(data)
    shown = " ".join(map(repr, (arrived, arrived.storage, emitter_of(arrived), emitter_of(arrived).settings)))
    assert not re.search(PASSWORD, shown + caplog.text)
    manager.close(0)
    arrived.close(0)
