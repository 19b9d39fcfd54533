"""Under gevent and eventlet, the real ones: nothing waits, other greenlets go on, everything is delivered."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from support.effort import ONLY_IN_TEST_ALL

PATCH = {
    "gevent": "from gevent import monkey, spawn, sleep; monkey.patch_all()",
    "eventlet": "import eventlet; from eventlet import spawn, sleep; eventlet.monkey_patch()",
}
LIBRARIES = ["gevent", pytest.param("eventlet", marks=ONLY_IN_TEST_ALL)]
IMPORT = """
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.producers.delivery import threads
def manager():
    return ProcessingStepManager(emit_only(kafka_options={"test.mock.num.brokers": "1"}))
"""
TURNS = """
turns = 0
def turning():
    global turns
    while True:
        turns += 1
        sleep(0.001)
spawn(turning)
"""
WORK = """
def work(number):
    with m.step(f"doc {number}", "ocr"):
        sleep(0.01)
jobs = [spawn(work, number) for number in range(50)]
deadline = time.monotonic() + 240
while m.storage.accounting().accepted < before + 100:
    assert time.monotonic() < deadline
    sleep(0.01)
while m.storage.accounting().pending:  # nobody flushes: the poller has its turn, too
    assert time.monotonic() < deadline
    sleep(0.01)
seen = turns
for _ in range(3000):
    m.add_step("doc", "ocr", "SUCCESS")
assert turns == seen, "add_step gave way"
assert m.flush(240) == 0
assert turns > seen, "nobody else had a turn while flush waited"
accounting = m.storage.accounting()
assert accounting.delivered == accounting.accepted == before + 3100, accounting
assert not m.storage.thread_faults
m.close()
print("done")
"""


def run(*parts: str) -> str:
    script = "import os, sys, time, faulthandler\nfaulthandler.dump_traceback_later(300, exit=True)\n"
    script += "\n".join(textwrap.dedent(part) for part in parts)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "when", ["before the import", "after the import", "with an emitter", "after an event"]
)
def test_patched(library: str, when: str) -> None:
    """Whenever everything is patched: greenlets that record steps run side by side, flush lets others run."""
    patch, make, first = (
        PATCH[library],
        "m = manager(); before = 0",
        "m.add_step('first', 'ocr', 'SUCCESS'); before = 1",
    )
    parts = {
        "before the import": [patch, IMPORT, make],
        "after the import": [IMPORT, patch, make],
        "with an emitter": [IMPORT, make, patch],
        "after an event": [IMPORT, make, first, patch],
    }[when]
    assert run(*parts, "assert threads.are_green()", TURNS, WORK).endswith("done\n")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_first_event_from_a_real_thread(library: str) -> None:
    """An emitter whose poller was born in a thread of a pool, whose greenlets get no turn, is flushed all the same."""
    pool = {
        "gevent": "import gevent; gevent.get_hub().threadpool.apply(m.add_step, ('d', 's', 'SUCCESS'))",
        "eventlet": "from eventlet import tpool; tpool.execute(m.add_step, 'd', 's', 'SUCCESS')",
    }[library]
    end = "m.add_step('d', 's', 'SUCCESS'); assert m.flush(240) == 0; assert m.storage.accounting().delivered == 2"
    run(PATCH[library], IMPORT, "m = manager()", pool, end)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_forked_child(library: str) -> None:
    """A fork copies greenlets: the child leaves its parent's producer alone, and delivers what it emits itself."""
    run(
        PATCH[library],
        IMPORT,
        """
        m = manager()
        m.add_step("d", "s", "SUCCESS")
        # A fork while a thread of Kafka's client looks up a host's name copies a lock of libc that nobody releases in
        # the child, once in thirty here: of that hazard this is no test.
        assert m.flush(240) == 0
        pid = os.fork()
        if not pid:
            sleep(0.5)
            m.add_step("d", "s", "SUCCESS")
            left = m.flush(240)
            accounting = m.storage.accounting()
            print(left, accounting, file=sys.stderr, flush=True)
            os._exit(0 if not left and accounting.delivered == accounting.accepted == 1 else 1)
        deadline = time.monotonic() + 240
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            assert time.monotonic() < deadline
            sleep(0.01)
        assert os.waitstatus_to_exitcode(ended[1]) == 0
        assert m.flush(240) == 0
        m.close()
        """,
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_exit_of_the_process(library: str) -> None:
    """What is pending at exit is delivered then."""
    out = run(
        PATCH[library],
        IMPORT,
        """
        import atexit
        m = manager()
        storage = m.storage
        from steptrail.producers.delivery import process_lifecycle as inheritance
        atexit.unregister(inheritance.close_all)
        atexit.register(lambda: print(storage.accounting().delivered))
        atexit.register(inheritance.close_all)
        for _ in range(500):
            m.add_step("d", "s", "SUCCESS")
        """,
    )
    assert out == "500\n"


def test_only_threads_are_patched() -> None:
    """Also where time.sleep was left as it is, a wait lets greenlets run."""
    run(
        "from gevent import monkey, spawn, sleep; monkey.patch_all(time=False)",
        IMPORT,
        "m = manager(); before = 0",
        TURNS,
        WORK,
    )


def test_a_time_limit_of_gevent() -> None:
    """gevent.Timeout ends a flush, which can be called again."""
    run(
        PATCH["gevent"],
        IMPORT,
        """
        import gevent
        m = ProcessingStepManager(emit_only(kafka="127.0.0.1:1"))
        m.add_step("d", "s", "SUCCESS")
        limit = gevent.Timeout(0.2)
        limit.start()
        try:
            m.flush(100)
        except gevent.Timeout as raised:
            assert raised is limit
        else:
            raise AssertionError("it was swallowed")
        assert m.flush(0) == 1
        m.close(0)
        assert m.storage.accounting().failed == {"closed": 1}
        """,
    )
