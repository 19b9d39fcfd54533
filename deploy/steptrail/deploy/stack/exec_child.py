"""Run by path, before a part's own program: ask the kernel to kill this process when its parent dies.

Usage: ``python -I -S exec_child.py PARENT_PID PROGRAM [ARGUMENT ...]``. A program of its own and not a hook
between fork and exec, because such hooks can hang in a process that has threads. The request survives exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set the death signal, check that the parent is still there, become the program."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":  # elsewhere the watchdog alone has to do
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    program = sys.argv[2:]
    try:
        os.execvp(program[0], program)  # noqa: S606 - the very point
    except OSError as fault:
        sys.exit(f"cannot run {program[0]}: {fault.strerror}")


if __name__ == "__main__":
    main()
