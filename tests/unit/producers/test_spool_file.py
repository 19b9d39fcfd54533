"""The spool's file: what was written is read again; what is torn or damaged is cut; no two hold it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from steptrail.producers.persistence.spool_file import NotASpoolError, SpoolFile

TOPIC = "steptrail.steps.v1"
MESSAGES = [(b"default/doc %d" % n, os.urandom(n * 7)) for n in range(50)]


def filled(path: Path) -> SpoolFile:
    file = SpoolFile.create(path, TOPIC)
    for key, value in MESSAGES:
        file.append(key, value)
    return file


def read(file: SpoolFile) -> list[tuple[bytes, bytes]]:
    return [(record.key, record.value) for record in file.read(file.start)]


def test_is_read_again_by_the_next_process(tmp_path: Path) -> None:
    """All messages, in order, byte by byte; only its owner may read the file."""
    path = tmp_path / "a.spool"
    filled(path).close()
    file = SpoolFile.take_over(path, TOPIC)
    assert read(file) == MESSAGES
    assert file.torn_bytes == 0
    assert path.stat().st_mode & 0o777 == 0o600
    file.remove()
    assert not path.exists()


def test_is_seen_only_when_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for files left behind never meets one that its maker has not locked yet."""
    seen: list[list[Path]] = []
    flock = fcntl.flock

    def watched(fd: int, operation: int) -> None:
        seen.append(list(tmp_path.glob("*.spool")))
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", watched)
    filled(tmp_path / "a.spool").close()
    assert seen == [[]]
    assert [path.name for path in tmp_path.iterdir()] == ["a.spool"]


def test_is_held_by_one(tmp_path: Path) -> None:
    """Who does not hold it cannot take it over; neither can one who reads another topic, or no spool at all."""
    path = tmp_path / "a.spool"
    file = filled(path)
    with pytest.raises(NotASpoolError, match="another process"):
        SpoolFile.take_over(path, TOPIC)
    file.close()
    for topic in ("other", TOPIC + "x"):
        with pytest.raises(NotASpoolError, match="no messages for"):
            SpoolFile.take_over(path, topic)
    path.write_bytes(b"rubbish")
    with pytest.raises(NotASpoolError):
        SpoolFile.take_over(path, TOPIC)
    with pytest.raises(NotASpoolError):
        SpoolFile.take_over(tmp_path / "missing", TOPIC)


def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    """Wherever the file ends, the whole records before are read, the rest is counted, and more can be appended."""
    path = tmp_path / "a.spool"
    file = filled(path)
    ends = [file.start, *(record.end for record in file.read(file.start))]
    file.close()
    whole = path.read_bytes()
    for size in range(ends[-3], len(whole)):
        path.write_bytes(whole[:size])
        torn = SpoolFile.take_over(path, TOPIC)
        complete = sum(end <= size for end in ends) - 1
        assert read(torn) == MESSAGES[:complete]
        assert torn.torn_bytes == size - ends[complete]
        torn.append(b"key", b"value")
        assert read(torn) == [*MESSAGES[:complete], (b"key", b"value")]
        torn.close()


def test_a_damaged_record_ends_the_file(tmp_path: Path) -> None:
    """A byte that changed is noticed wherever it is, and never sent."""
    path = tmp_path / "a.spool"
    file = filled(path)
    ends = [file.start, *(record.end for record in file.read(file.start))]
    file.close()
    whole = path.read_bytes()
    for at in range(ends[9], ends[12]):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        damaged = SpoolFile.take_over(path, TOPIC)
        assert read(damaged) == MESSAGES[: sum(end <= at for end in ends) - 1]
        assert damaged.torn_bytes > 0
        damaged.close()


def test_emptied(tmp_path: Path) -> None:
    """After all was sent, it begins anew."""
    file = filled(tmp_path / "a.spool")
    file.empty()
    assert read(file) == []
    file.append(b"k", b"v")
    file.sync()
    assert read(file) == [(b"k", b"v")]
    file.close()


def test_links_and_pipes_are_left_alone(tmp_path: Path) -> None:
    """A symbolic link, even to a spool, and what is no regular file are never taken over."""
    path = tmp_path / "a.spool"
    filled(path).close()
    (tmp_path / "link.spool").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.spool")
    for name in ("link.spool", "pipe.spool"):
        with pytest.raises(NotASpoolError):
            SpoolFile.take_over(tmp_path / name, TOPIC)
    file = SpoolFile.take_over(path, TOPIC)
    assert read(file) == MESSAGES
    file.close()
