"""With a spool nothing is lost, whatever the broker does: it is sent again, and says so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from steptrail.producers import StepEmitter
from steptrail.producers.persistence.spool_file import SpoolFile
from steptrail.schemas import ConfigurationError, ProcessingStatus, Settings, Topics
from steptrail.schemas.wire.headers import times_resent
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import projected, projecting, read_all
from support.stack import environ_of
from support.topic_events import sequences, stored_events
from support.waiting import PATIENCE_S, until

SUCCESS = ProcessingStatus.SUCCESS


def nowhere() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def emit(emitter: StepEmitter, count: int, **values: Any) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=SUCCESS, **values)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def settled(emitter: StepEmitter) -> bool:
    accounting = emitter.accounting()
    assert accounting.balanced
    return accounting.spooled == 0 and accounting.pending == 0


def test_an_overrun_queue_loses_nothing(topics_only: Settings, tmp_path: Path) -> None:
    """What does not fit into the queue goes through the file; all is delivered, and the file is empty."""
    emitter = StepEmitter(topics_only, spool=tmp_path, queue_max_messages=50)
    emit(emitter, 3000)
    assert emitter.accounting().balanced
    assert emitter.accounting().spooled > 0
    until(lambda: settled(emitter), "delivery of all")
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.delivered, accounting.lost) == (3000, 3000, 0)
    emitter.close()
    assert files(tmp_path) == []
    assert sequences(stored_events(topics_only)) == {emitter.emitter_id.hex(): list(range(3000))}


def test_the_next_process_sends_what_was_left(workspace: Settings, tmp_path: Path) -> None:
    """Without a broker all goes to the file at close; a later emitter sends it with the header, once each."""
    first = StepEmitter(workspace, kafka=nowhere(), spool=tmp_path)
    emit(first, 200)
    first.close(0)
    accounting = first.accounting()
    assert (accounting.spooled, accounting.lost, accounting.pending) == (200, 0, 0)
    assert accounting.balanced
    assert len(files(tmp_path)) == 1
    with StepEmitter(workspace, spool=tmp_path) as second:
        emit(second, 1)
        until(lambda: not files(tmp_path), "end of the file")
        assert second.accounting().accepted == 1
    topic = Topics.from_settings(workspace).steps.name
    resent = [times_resent(message.headers()) for message in read_all(workspace, topic)]
    assert sorted(resent) == [0] + [1] * 200
    assert sequences(stored_events(workspace))[first.emitter_id.hex()] == list(range(200))
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.count() == 201, "projection")


@ONLY_IN_TEST_ALL
def test_a_process_that_lives_for_a_moment_sends_what_was_left(topics_only: Settings, tmp_path: Path) -> None:
    """One event, then the end: closing waits for the file of another process, too, though it is held for a while."""
    first = StepEmitter(topics_only, kafka=nowhere(), spool=tmp_path)
    emit(first, 50)
    first.close(0)
    assert len(files(tmp_path)) == 1
    with StepEmitter(topics_only, spool=tmp_path) as second:
        emit(second, 1)
        second.flush(PATIENCE_S)
        second.close(PATIENCE_S)
    assert files(tmp_path) == []
    assert sequences(stored_events(topics_only))[first.emitter_id.hex()] == list(range(50))


@ONLY_IN_TEST_ALL
def test_what_was_delivered_already_is_projected_once(workspace: Settings, tmp_path: Path) -> None:
    """A file that is sent twice, as after a crash, puts no row in twice."""
    first = StepEmitter(workspace, kafka=nowhere(), spool=tmp_path)
    emit(first, 100)
    first.close(0)
    [path] = files(tmp_path)
    kept = path.read_bytes()
    for _ in range(2):
        path.write_bytes(kept)
        with StepEmitter(workspace, spool=tmp_path) as again:
            emit(again, 1)
            until(lambda: not files(tmp_path), "end of the file")
    assert len(stored_events(workspace)) == 202
    with projected(workspace) as store, projecting(workspace):
        until(lambda: store.count() == 102, "projection")
        until(lambda: sum(store.high_water().values()) == 202 - len(store.high_water()), "ledger")
        assert store.count() == 102


@ONLY_IN_TEST_ALL
def test_a_time_out_is_sent_again(topics_only: Settings, tmp_path: Path) -> None:
    """Events that timed out are kept, not failed."""
    emitter = StepEmitter(topics_only, kafka=nowhere(), spool=tmp_path, message_timeout_ms=100, linger_ms=5)
    emit(emitter, 20)
    until(lambda: emitter.accounting().spooled == 20, "time-out")
    emitter.close(0)
    assert (emitter.accounting().spooled, dict(emitter.accounting().failed)) == (20, {})


def test_a_full_file_drops(topics_only: Settings, tmp_path: Path) -> None:
    """The file has a bound; beyond it events are dropped and counted as without a spool."""
    emitter = StepEmitter(
        topics_only, kafka=nowhere(), spool=tmp_path, queue_max_messages=10, spool_max_bytes=5000
    )
    emit(emitter, 100)
    accounting = emitter.accounting()
    assert 0 < accounting.spooled < 90
    assert dict(accounting.dropped) == {"queue_full": 90 - accounting.spooled}
    emitter.close(0)
    assert emitter.accounting().balanced
    assert files(tmp_path)[0].stat().st_size <= 5000


WORKER = """
import sys, time
from steptrail.producers import StepEmitter
from steptrail.schemas import ProcessingStatus
emitter = StepEmitter(spool=sys.argv[1], queue_max_messages=10)
for number in range(100):
    emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS)
print(emitter.accounting().spooled, flush=True)
time.sleep(600)
"""


def test_a_killed_process_leaves_its_file(topics_only: Settings, tmp_path: Path) -> None:
    """kill -9: what was in the file is sent by the next one; while the process lives, nobody touches it."""
    environ = environ_of(topics_only.with_values(kafka=nowhere()))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "90"
            with StepEmitter(topics_only, spool=tmp_path) as living:
                emit(living, 1)
                assert living.flush(PATIENCE_S) == 0
            assert len(files(tmp_path)) == 1
        finally:
            os.kill(process.pid, signal.SIGKILL)
    with StepEmitter(topics_only, spool=tmp_path) as next_one:
        emit(next_one, 1)
        until(lambda: not files(tmp_path), "end of the file")
    assert len(stored_events(topics_only)) == 92


def test_a_forked_child_has_a_file_of_its_own(topics_only: Settings, tmp_path: Path) -> None:
    """Parent and child never share a file, and the child does not keep the parent's lock."""
    emitter = StepEmitter(topics_only, kafka=nowhere(), spool=tmp_path, queue_max_messages=10)
    emit(emitter, 30)
    assert len(files(tmp_path)) == 1
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            emit(emitter, 25)
            assert emitter.accounting().spooled == 15
            emitter.close(0)
            status = 0 if len(files(tmp_path)) == 2 and emitter.accounting().spooled == 25 else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    emitter.close(0)
    assert emitter.accounting().spooled == 30
    with StepEmitter(topics_only, spool=tmp_path) as next_one:
        emit(next_one, 1)
        until(lambda: not files(tmp_path), "end of the files")
    assert len(stored_events(topics_only)) == 56


def test_closed_while_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that serves reports may wait for the disk: what it did not serve is spooled by `close`."""
    syncs, go_on = threading.Event(), threading.Event()
    sync = SpoolFile.sync

    def slow(file: SpoolFile) -> None:
        if threading.current_thread() is not threading.main_thread():
            syncs.set()
            go_on.wait(PATIENCE_S)
        sync(file)

    monkeypatch.setattr(SpoolFile, "sync", slow)
    monkeypatch.setattr("steptrail.producers.delivery.transport._QUIET_S", 0.5)
    emitter = StepEmitter(kafka=nowhere(), spool=tmp_path, queue_max_messages=10)
    emit(emitter, 30)
    until(syncs.is_set, "sync")
    threading.Timer(1.5, go_on.set).start()  # longer than reports are waited for
    emitter.close(0)
    go_on.set()
    assert emitter.accounting().spooled == 30


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A spool that cannot be written to is said when the emitter is made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="spool"):
        StepEmitter(spool=tmp_path / "file")
