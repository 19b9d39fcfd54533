"""Long answers through the user's pager."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys


def is_long(text: str) -> bool:
    """Whether `text` has more lines than the terminal on standard output shows at once."""
    try:
        return text.count("\n") >= os.get_terminal_size(sys.stdout.fileno()).lines
    except (OSError, ValueError):
        return False


def page(text: str) -> bool:
    """Show visible text in `PAGER`, or `less`, and wait for its end; False where there is none that starts."""
    told = os.environ.get("PAGER", "").strip()
    try:
        command = shlex.split(told) if told else ["less"]
    except ValueError:
        return False
    if not command or shutil.which(command[0]) is None:
        return False
    # Long lines run on to the right, and what was shown stays on the screen.
    environ = {"LESS": "-S -X", "LESSCHARSET": "utf-8", **os.environ}
    kept = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the pager's
    try:
        pager = subprocess.Popen(  # noqa: S603 - the user's own choice
            command, stdin=subprocess.PIPE, env=environ, encoding="utf-8", errors="backslashreplace"
        )
        with contextlib.suppress(BrokenPipeError):  # left before the end
            pager.communicate(text)
        pager.wait()
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, kept)
    return True
