"""Property tests of the journal's format: whatever is torn, cut or damaged, what is whole is read and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from steptrail.producers.persistence.journal_file import OVERHEAD, START, STATE, Segment
from steptrail.producers.persistence.spool_file import NotASpoolError
from support.effort import effort
from support.journals import TOPIC, fill, held

messages = st.lists(
    st.tuples(st.binary(max_size=40), st.binary(max_size=300)), min_size=1, max_size=30, unique=True
)
SIZE = 32 * 1024


def written(path: Path, told: list[tuple[bytes, bytes]], done: set[int]) -> tuple[bytes, list[int]]:
    """The bytes of a segment that holds `told`, of which those numbered in `done` are; and where each record is."""
    segment = Segment.create(path, TOPIC, SIZE)
    # An earlier use, whose bytes are still there behind those of this one.
    fill(segment, [(b"earlier", bytes([n]) * 50) for n in range(100)])
    segment.use_anew()
    places = fill(segment, told)
    for number in done:
        segment.done(places[number])
    segment.close()
    return path.read_bytes(), places


def read(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    path.write_bytes(data)
    try:
        segment = Segment.take_over(path, TOPIC)
    except NotASpoolError:
        return []
    found = held(segment)
    segment.close()
    segment.map.close()
    return found


def length(message: tuple[bytes, bytes]) -> int:
    return OVERHEAD + len(message[0]) + len(message[1])


@pytest.mark.thorough
@settings(max_examples=effort(60, 150), print_blob=True, deadline=None, derandomize=True)
@given(told=messages, data=st.data())
def test_any_prefix(told: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """Cut off anywhere, it gives exactly the whole records that are not done."""
    done = data.draw(st.sets(st.integers(0, len(told) - 1)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.journal"
        whole, places = written(path, told, done)
        end = places[-1] + length(told[-1])
        size = data.draw(st.one_of(st.integers(0, START), st.integers(START, end), st.integers(end, SIZE)))
        note(f"cut at {size} of {end}")
        wanted = [
            message
            for number, (message, at) in enumerate(zip(told, places, strict=True))
            if number not in done and at + length(message) <= size
        ]
        assert read(path, whole[:size]) == wanted


@pytest.mark.thorough
@settings(max_examples=effort(60, 150), print_blob=True, deadline=None, derandomize=True)
@given(told=messages, data=st.data())
def test_a_damaged_byte(told: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """A byte that changed costs the record that it is in, and no other; one of a state costs at most that mark."""
    done = data.draw(st.sets(st.integers(0, len(told) - 1)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.journal"
        whole, places = written(path, told, done)
        end = places[-1] + length(told[-1])
        at = data.draw(st.integers(0, end - 1))
        flipped = whole[at] ^ data.draw(st.integers(1, 255))
        found = read(path, whole[:at] + bytes([flipped]) + whole[at + 1 :])
        left = [number for number in range(len(told)) if number not in done]
        hit = next((n for n, start in enumerate(places) if start <= at < start + length(told[n])), None)
        if hit is not None and places[hit] + STATE <= at < places[hit] + STATE + 4:
            left = sorted({*left, hit})
        elif hit in left:
            left.remove(hit)
        assert found == [told[number] for number in left]


@pytest.mark.thorough
@settings(max_examples=effort(60, 150), print_blob=True, deadline=None, derandomize=True)
@given(told=messages, data=st.data())
def test_a_torn_write(told: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """Of the last record only some bytes were copied, at either end or between: the ones before are read, it is not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.journal"
        whole, places = written(path, told, set())
        at = places[-1]
        end = at + length(told[-1])
        begin, stop = sorted(data.draw(st.tuples(st.integers(at, end), st.integers(at, end))))
        before = data.draw(st.binary(min_size=end - at, max_size=end - at))
        torn = before[: begin - at] + whole[begin:stop] + before[stop - at :]
        found = read(path, whole[:at] + torn + whole[end:])
        wanted = told[:-1]
        if torn[:STATE] + torn[STATE + 4 :] == whole[at : at + STATE] + whole[at + STATE + 4 : end]:
            wanted = told  # all of it was copied after all
        assert found == wanted


@pytest.mark.thorough
@settings(max_examples=effort(60, 150), print_blob=True, deadline=None, derandomize=True)
@given(told=messages, garbage=st.binary(max_size=4000), data=st.data())
def test_rubbish_is_never_a_record(
    told: list[tuple[bytes, bytes]], garbage: bytes, data: st.DataObject
) -> None:
    """Rubbish over any part of it: what is read was written, in its order, and what the rubbish missed is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.journal"
        whole, places = written(path, told, set())
        at = data.draw(st.integers(START, SIZE - len(garbage)))
        found = read(path, whole[:at] + garbage + whole[at + len(garbage) :])
        missed = [
            message
            for message, start in zip(told, places, strict=True)
            if start + length(message) <= at or start >= at + len(garbage)
        ]
        assert [message for message in told if message in found] == found
        assert [message for message in found if message in missed] == missed
