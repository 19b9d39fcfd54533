"""Outlives a killed supervisor for a moment, to end what its parts had started themselves.

The kernel kills a supervisor's direct children with it (see exec_child), but not *their* children. So the
supervisor tells this process which process groups it has (``+pgid``, ``-pgid``, a line each); when the pipe
ends, whatever is left of them is killed. Run by path: ``python -I -S watchdog.py``.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Keep the list until the supervisor is gone, then kill what is on it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            if line.startswith("+"):
                groups.add(int(line[1:]))
            else:
                groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
