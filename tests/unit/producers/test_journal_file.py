"""A journal's segment: what is not done is read by the next process; it is used anew, held by one, and private."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from struct import Struct

import pytest

from steptrail.producers.persistence.journal_file import START, Segment
from steptrail.producers.persistence.spool_file import NotASpoolError
from support.journals import TOPIC, append, fill, held

MESSAGES = [(b"default/doc %d" % n, os.urandom(n * 7)) for n in range(50)]


def test_is_read_by_the_next_process(tmp_path: Path) -> None:
    """All messages that are not done, in order, byte by byte; only its owner may read the file."""
    path = tmp_path / "a.journal"
    segment = Segment.create(path, TOPIC, 64 * 1024)
    places = fill(segment, MESSAGES)
    for place in places[::3]:
        segment.done(place)
    segment.close(cut=True)
    assert path.stat().st_mode & 0o777 == 0o600
    left = Segment.take_over(path, TOPIC)
    assert held(left) == [message for number, message in enumerate(MESSAGES) if number % 3]
    left.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_marked_is_not_read_again(tmp_path: Path) -> None:
    """A takeover that is killed midway leaves only what it had not sent."""
    path = tmp_path / "a.journal"
    segment = Segment.create(path, TOPIC, 64 * 1024)
    fill(segment, MESSAGES)
    segment.close()
    first = Segment.take_over(path, TOPIC)
    for record in list(first.read())[:20]:
        first.mark(record)
    first.close()
    assert held(Segment.take_over(path, TOPIC)) == MESSAGES[20:]


def test_used_anew_forgets(tmp_path: Path) -> None:
    """Nothing of an earlier use is read after the next one began, though its bytes are still there."""
    segment = Segment.create(tmp_path / "a.journal", TOPIC, 64 * 1024)
    fill(segment, MESSAGES)
    segment.use_anew()
    assert held(segment) == []
    append(segment, *MESSAGES[3])
    assert held(segment) == [MESSAGES[3]]
    assert segment.unacknowledged == 1


def test_is_held_by_one(tmp_path: Path) -> None:
    """Nobody takes over what a process holds, what is another topic's, or what is no journal."""
    path = tmp_path / "a.journal"
    segment = Segment.create(path, TOPIC, 64 * 1024)
    with pytest.raises(NotASpoolError, match="another process"):
        Segment.take_over(path, TOPIC)
    segment.close()
    for topic in ("other", TOPIC + "x"):
        with pytest.raises(NotASpoolError, match="no journal for"):
            Segment.take_over(path, topic)
    (tmp_path / "b.journal").write_bytes(b"rubbish")
    (tmp_path / "c.journal").write_bytes(b"")
    (tmp_path / "link.journal").symlink_to(path)
    for name in ("b", "c", "link", "missing"):
        with pytest.raises(NotASpoolError):
            Segment.take_over(tmp_path / f"{name}.journal", TOPIC)


def test_all_blocks_are_there_before_anything_is_written(tmp_path: Path) -> None:
    """A full disk is met when a segment is made: writing to it can then not fail, which a map could not say."""
    segment = Segment.create(tmp_path / "a.journal", TOPIC, 1024 * 1024)
    assert (tmp_path / "a.journal").stat().st_blocks * 512 >= 1024 * 1024
    segment.remove()


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment for which there is no room is not there at all."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Segment.create(tmp_path / "a.journal", TOPIC, 64 * 1024)
    assert list(tmp_path.iterdir()) == []


def test_a_message_that_looks_like_a_record_is_none(tmp_path: Path) -> None:
    """Bytes of another journal inside of a message are never taken for a record, not even where theirs is damaged."""
    other = Segment.create(tmp_path / "other.journal", TOPIC, 64 * 1024)
    fill(other, [(b"evil", b"value")])
    inside = other.map[START : other.used]
    path = tmp_path / "a.journal"
    segment = Segment.create(path, TOPIC, 64 * 1024)
    first, _ = fill(segment, [(b"key", inside * 5), (b"good", b"value")])
    segment.map[first + 12 : first + 16] = Struct("<I").pack(1)  # its checksum
    segment.close()
    assert held(Segment.take_over(path, TOPIC)) == [(b"good", b"value")]
