import os
import threading
import time
import uuid

from steptrail.schemas.ids import new_emitter_id, uuid7


def test_ids_are_uuids_of_version_7() -> None:
    """Version, variant and the time of making are where RFC 9562 has them."""
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(bytes=uuid7())
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after + 1


def test_ids_grow_and_never_repeat() -> None:
    """Ids of one thread sort in the order of their making."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_threads_get_different_ids() -> None:
    """Ids of several threads are distinct, each thread's in order."""
    made: list[list[bytes]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(uuid7() for _ in range(5000))) for mine in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({each for mine in made for each in mine}) == 20_000


def test_a_forked_child_has_its_own_random_numbers() -> None:
    """A child neither repeats its parent's random parts nor hangs on its lock."""
    uuid7()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writable, b"".join(uuid7() for _ in range(200)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(readable, 200 * 16)
    os.close(readable)
    os.close(writable)
    random_parts = {theirs[start + 8 : start + 16] for start in range(0, len(theirs), 16)}
    assert len(random_parts) == 200
    assert random_parts.isdisjoint({uuid7()[8:] for _ in range(200)})


def test_an_emitter_has_8_random_bytes() -> None:
    """Two emitters differ."""
    assert len(new_emitter_id()) == 8
    assert new_emitter_id() != new_emitter_id()
