"""The way to the terminal: whoever writes to it, only visible text arrives."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from typing import Any, TextIO, cast

from steptrail.deploy.terminal.visible import visible


class _Guarded:
    """A terminal's stream: what is written is made visible first; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)

    def write(self, text: str) -> int:
        """Write `text`; the length of what was given, as its writer expects."""
        self.unguarded.write(visible(text, keep="\n\t"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)


def guard_terminal() -> None:
    """Guard this process's standard output and error where they are a terminal.

    So a traceback, a library's log line or a stray `print` shows no more than text. Only `output`, which makes its
    texts visible before it adds colour, writes past it. A character that the encoding lacks never raises.
    """
    sys.excepthook = traceback.print_exception  # without the colours that newer Pythons add
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        if stream is not None and stream.isatty() and not isinstance(stream, _Guarded):
            setattr(sys, name, _Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """`stream` without its guard."""
    return cast(TextIO, getattr(stream, "unguarded", stream))
