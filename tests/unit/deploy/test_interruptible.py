"""Ctrl-C ends a wait for the network, whenever it is pressed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

WAITS = """
    import ctypes, signal, socket
    from functools import partial
    from itertools import starmap
    from steptrail.deploy.terminal.interruptible import interruptible

    here, there = socket.socketpair()
    # Iterators and functions of C run no handler between the two calls: the signal is noted, and then begins the wait.
    just_before = [(partial(ctypes.PyDLL(None)["raise"], signal.SIGINT),), (partial(here.recv, 1),)]
    before = signal.getsignal(signal.SIGALRM)
    try:
        with interruptible():
            list(starmap(partial.__call__, just_before))
    except KeyboardInterrupt:
        print("interrupted", signal.getsignal(signal.SIGALRM) == before, signal.getitimer(signal.ITIMER_REAL))
"""


def test_a_signal_just_before_the_wait_ends_it() -> None:
    """It is not noted until the answer is there; afterwards handler and timer are as before."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WAITS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("interrupted True (0.0, 0.0)\n", "")


def test_other_threads_are_left_alone() -> None:
    """Only the main thread may set handlers: elsewhere nothing happens, and nothing is raised."""
    code = """
        import threading
        from steptrail.deploy.terminal.interruptible import interruptible
        def work():
            with interruptible():
                print("done")
        threading.Thread(target=work).start()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
