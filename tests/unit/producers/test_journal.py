"""A journal in its process: what is confirmed goes, what is not stays, and no fault of its own reaches the worker."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from steptrail.producers.persistence.journal import PLACED, SEGMENT_BYTES
from support.interrupting import interruptions
from support.journals import Line, left_in

KEY = b"default/doc"


def values(count: int, size: int = 300) -> list[bytes]:
    return [b"%08d" % number + os.urandom(size - 8) for number in range(count)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def test_what_is_not_confirmed_is_left(tmp_path: Path) -> None:
    """At close the file holds what was not confirmed, cut to what is used; nothing when all was."""
    line = Line(tmp_path / "journal")
    told = values(10)
    for value in told:
        line.emit(KEY, value)
    line.answer(6)
    line.journal.close()
    [path] = files(tmp_path / "journal")
    assert path.stat().st_size < 8192
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert left_in(path.parent) == [(KEY, value) for value in told[6:]]
    other = Line(tmp_path / "other")
    other.emit(KEY, b"value")
    other.answer()
    other.journal.close()
    assert files(tmp_path / "other") == []


def test_the_files_do_not_grow_while_reports_come(tmp_path: Path) -> None:
    """Segments are used anew: a hundred of them full of events need three files."""
    line = Line(tmp_path)
    seen = 0
    for number, value in enumerate(values(100 * SEGMENT_BYTES // 10_000, 10_000)):
        line.emit(KEY, value)
        line.answer()
        if number % 50 == 0:
            line.journal.tick()
            seen = max(seen, len(files(tmp_path)))
    assert seen <= 3
    assert line.counters.snapshot().unjournalled == 0
    line.journal.close()
    assert files(tmp_path) == []


def test_a_file_that_another_process_removes_meanwhile(tmp_path: Path) -> None:
    """One that is gone between the listing of the folder and the look at its size is no fault of the folder's."""
    (tmp_path / "1-gone-0.journal").symlink_to(tmp_path / "gone")
    line = Line(tmp_path)
    line.emit(KEY, b"value")
    assert line.counters.snapshot().unjournalled == 0


def test_one_late_report_keeps_one_segment(tmp_path: Path) -> None:
    """Reports in any order: what is left is exactly what was not confirmed, however often segments were changed."""
    line = Line(tmp_path)
    told = values(1000, 10_000)
    for value in told:
        line.emit(KEY, value)
    late = {0, 314, 999}
    sent, line.sent = line.sent, []
    for number in reversed(range(1000)):
        if number not in late:
            line.sent.append(sent[number])
    line.answer()
    line.journal.close()
    assert sorted(left_in(tmp_path)) == [(KEY, told[number]) for number in sorted(late)]
    assert len(files(tmp_path)) == 3


def test_a_message_larger_than_a_segment(tmp_path: Path) -> None:
    """It has a segment of its own size."""
    line = Line(tmp_path)
    large = os.urandom(SEGMENT_BYTES + 5)
    for value in (b"before", large, b"after"):
        line.emit(KEY, value)
    line.journal.close()
    assert sorted(left_in(tmp_path)) == sorted([(KEY, b"before"), (KEY, large), (KEY, b"after")])


def test_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound of the folder events go on without, each counted, with one line in the log."""
    line = Line(tmp_path, max_bytes=2 * SEGMENT_BYTES)
    told = values(300, 10_000)
    for value in told:
        line.emit(KEY, value)
    without = line.counters.snapshot().unjournalled
    assert 80 < without < 110
    assert [value for value, _ in line.sent] == told
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 2 * SEGMENT_BYTES
    line.journal.close()
    assert len(left_in(tmp_path)) == 300 - without
    assert _lines(caplog) == 1
    assert "STEPTRAIL_JOURNAL_MAX_BYTES" in caplog.text


def _full_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    return folder


def _link(_: pytest.MonkeyPatch, folder: Path) -> Path:
    (folder / "real").mkdir(mode=0o700)
    (folder / "link").symlink_to(folder / "real")
    return folder / "link"


def _foreign(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    uid = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    return folder


def _open_to_all(_: pytest.MonkeyPatch, folder: Path) -> Path:
    folder.chmod(0o777)
    return folder


def _a_file(_: pytest.MonkeyPatch, folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def _read_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    # Whoever is root may write everywhere; so this is said by what is asked.
    def refused(*_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("steptrail.producers.persistence.journal_file.os.open", refused)
    return folder


BAD = {
    "disk full": (_full_disk, "No space left"),
    "symbolic link": (_link, "symbolic link"),
    "another user's": (_foreign, "another user"),
    "open to all": (_open_to_all, "chmod 700"),
    "a file": (_a_file, "exists"),
    "read-only": (_read_only, "Read-only"),
}


def _lines(caplog: pytest.LogCaptureFixture) -> int:
    """How many the emitter wrote; clients that earlier tests left write some of their own."""
    return sum(record.name == "steptrail.emitter" for record in caplog.records)


@pytest.mark.parametrize("what", BAD)
def test_a_folder_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """The worker goes on; each event that is not in the journal is counted, and the log says why, once."""
    make, said = BAD[what]
    line = Line(make(monkeypatch, tmp_path))
    for value in values(50):
        line.emit(KEY, value)
    line.answer()
    accounting = line.counters.snapshot()
    assert (accounting.delivered, accounting.unjournalled) == (50, 50)
    assert _lines(caplog) == 1
    assert said in caplog.text
    monkeypatch.undo()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".journal", ".new")]


def test_threads(tmp_path: Path) -> None:
    """Four threads emit while another one is told of deliveries: each message is either confirmed or left, whole."""
    line = Line(tmp_path)
    told = [values(400, 5000) for _ in range(4)]
    confirmed: list[bytes] = []
    stop = threading.Event()

    def confirm() -> None:
        number = 0
        while not stop.is_set():
            if line.sent:
                value, kept = line.sent.pop()
                number += 1
                if number % 5:
                    line.answer_one(kept)
                    confirmed.append(value)

    reporting = threading.Thread(target=confirm)

    def emit(mine: list[bytes]) -> None:
        for value in mine:
            line.emit(KEY, value)

    emitting = [threading.Thread(target=emit, args=(mine,)) for mine in told]
    for thread in (reporting, *emitting):
        thread.start()
    for thread in emitting:
        thread.join()
    stop.set()
    reporting.join()
    line.journal.close()
    left = [value for _, value in left_in(tmp_path)]
    assert sorted(left + confirmed) == sorted(value for mine in told for value in mine)


def interrupted(line: Line, told: list[bytes], on_signal: Any) -> Iterator[bytes]:
    """Emit with a signal handler that strikes at every line of the journal's code in turn."""
    for strike, value in enumerate(told):
        countdown = 1 + strike * 7 % 150

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal countdown
            if not frame.f_code.co_filename.endswith(
                ("/persistence/journal.py", "/persistence/journal_file.py")
            ):
                return None
            if event == "line":
                countdown -= 1
                if countdown == 0:
                    sys.settrace(None)
                    on_signal()
            return trace

        sys.settrace(trace)
        try:
            line.emit(KEY, value)
            yield value
        finally:
            sys.settrace(None)


def test_a_signal_handler_that_emits(tmp_path: Path) -> None:
    """At whatever line it strikes, both messages are whole, and all are left."""
    line = Line(tmp_path)
    told, nested = values(600, 4000), iter(values(600, 3000))
    emitted: list[bytes] = []

    def handler() -> None:
        value = next(nested)
        line.emit(KEY, value)
        emitted.append(value)

    emitted += list(interrupted(line, told, handler))
    assert len(emitted) > 650
    line.journal.close()
    assert sorted(value for _, value in left_in(tmp_path)) == sorted(emitted)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("spare", [True, False])
@pytest.mark.parametrize("size", [300, SEGMENT_BYTES // 3])
def test_a_signal_handler_that_raises(tmp_path: Path, size: int, spare: bool, first: bool) -> None:
    """Wherever it strikes, the same call with the same list goes on: the message is in the journal once, whole, and
    no file is lost sight of.
    """
    for number, interruption in enumerate(interruptions()):
        line = Line(tmp_path / str(number))
        told = values(1 if first else 3, size)  # of the larger ones, two fill a segment
        for value in told[:-1]:
            line.emit(KEY, value)
        if spare:
            line.journal.tick()
        kept: list[Any] = []
        if interruption.run(partial(line.keep, KEY, told[-1], kept)):
            line.keep(KEY, told[-1], kept)
        assert len(kept) == PLACED, interruption.where
        journal = line.journal
        assert {*journal._current, *journal._spare, *journal._sealed} == journal._open, interruption.where
        assert journal.unreported() == len(told)
        journal.close()
        assert sorted(value for _, value in left_in(tmp_path / str(number))) == sorted(told), (
            interruption.where
        )
        for path in (tmp_path / str(number)).iterdir():
            path.unlink()


def test_done_at_every_point(tmp_path: Path) -> None:
    """A message that is done with is counted so once, and the segment freed, wherever that is interrupted."""
    line = Line(tmp_path)
    for interruption in interruptions():
        lists: list[list[Any]] = [[] for _ in range(4)]
        for kept, value in zip(lists, values(4, SEGMENT_BYTES // 2), strict=True):
            line.keep(KEY, value, kept)
        for kept in lists:
            if interruption.run(partial(line.journal.done, *kept)):
                line.journal.done(*kept)
        line.journal.tick()
        assert line.journal.unreported() == 0, interruption.where
        assert len(line.journal._sealed) == 0, interruption.where
    line.journal.close()
    assert files(tmp_path) == []


def test_a_real_signal(tmp_path: Path) -> None:
    """The same with signals of the operating system, at any moment of the code."""
    line = Line(tmp_path)
    nested = iter(values(100_000, 500))
    emitted: list[bytes] = []

    def handler(*_: object) -> None:
        value = next(nested)
        line.emit(KEY, value)
        emitted.append(value)

    before = signal.signal(signal.SIGALRM, handler)
    rng = random.Random(5)
    try:
        told = values(3000, 700)
        for value in told:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 60e-6))
            line.emit(KEY, value)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    line.journal.close()
    assert sorted(value for _, value in left_in(tmp_path)) == sorted(told + emitted)


def test_what_is_forgotten_is_not_left(tmp_path: Path) -> None:
    """A message that was kept and then given up, in the last moment, is sent by nobody."""
    line = Line(tmp_path)
    gone: list[Any] = []
    line.emit(KEY, b"gone", gone)
    line.emit(KEY, b"kept")
    line.journal.forgotten.append(gone)
    assert line.journal.unreported() == 1
    line.journal.close()
    assert left_in(tmp_path) == [(KEY, b"kept")]


def test_a_forked_child_lets_go(tmp_path: Path) -> None:
    """A child that lives on does not keep its parent's files locked, and touches none of them."""
    line = Line(tmp_path)
    line.emit(KEY, b"value")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        line.journal.disown()
        os.close(write)
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    # As the kernel does at a kill: descriptors are closed, nothing is unlocked.
    [segment] = line.journal._open
    os.close(segment._fd)
    segment._fd = -1
    segment.map.close()
    try:
        child_has_let_go = False
        for _ in range(600):
            if child_has_let_go := _lockable(tmp_path):
                break
            threading.Event().wait(0.05)
        assert child_has_let_go
        assert left_in(tmp_path) == [(KEY, b"value")]
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)


def _lockable(folder: Path) -> bool:
    [path] = folder.glob("*.journal")
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
