"""SIGTERM in a child: the handler runs, wherever the main thread is when the signal comes."""

from __future__ import annotations

import subprocess
import sys

NOTED = """
import os, signal, threading
from steptrail.producers.delivery.termination import Termination

termination = Termination(lambda: bool(print("delivered", flush=True)))
termination.arm()
# The wakeup alone is written: what a process sees whose signal was noted just before its main thread began to wait.
os.write(termination._pipe[1], bytes([signal.SIGTERM]))
lock = threading.Lock(); lock.acquire(); lock.acquire()
"""
FORKED = """
import os, signal, time
from steptrail.producers.delivery.termination import Termination

termination = Termination(lambda: bool(print("delivered", flush=True)))
os.register_at_fork(
    before=termination.before_fork,
    after_in_parent=termination.after_fork_in_parent,
    after_in_child=termination.after_fork_in_child,
)
termination.arm()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # so that a signal comes before the child runs
for pause in [0] * 20 + [0.2]:
    child = os.fork()
    if child == 0:
        termination.arm()
        time.sleep(60)
        os._exit(1)
    time.sleep(pause)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM, status
print("alive", flush=True)
"""


def run(program: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout


def test_a_signal_that_was_noted_before_a_wait_ends_the_wait() -> None:
    """The main thread waits for a lock that never comes, and the signal was there before: it is repeated."""
    code, said = run(NOTED)
    assert (code, said) == (-15, "delivered\n")


def test_a_child_of_a_child_does_not_end_its_parent() -> None:
    """What a forked child hears is its own, however early: it delivers and ends, and its parent goes on."""
    code, said = run(FORKED)
    assert code == 0
    assert said.splitlines()[-1] == "alive"
    assert said.count("delivered") >= 1


def test_somebody_elses_handler_stays() -> None:
    """Where the program has decided what SIGTERM means, nothing is taken."""
    program = (
        "import signal; from steptrail.producers.delivery.termination import Termination; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); Termination(lambda: False).arm(); "
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)"
    )
    assert run(program) == (0, "True\n")
