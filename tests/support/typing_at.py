"""A person at a terminal: a process on a pty of its own, typed at and looked at."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from support.waiting import PATIENCE_S

_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?>]*[A-Za-z~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78A-Z])")


class Typist:
    """Types at a process, and reads what its terminal gets."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self.process = process
        self.got = b""
        self._seen = 0

    def type(self, text: str) -> None:
        """Type `text`; `\\r` is Enter, `\\x03` Ctrl-C, `\\t` Tab."""
        os.write(self._descriptor, text.encode())

    def sees(self, text: str) -> str:
        """Wait until `text` is shown after what was seen before; what is shown up to it, without colours and cursor
        movements."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            shown = self._shown()[self._seen :]
            if (found := shown.find(text)) >= 0:
                self._seen += found + len(text)
                return shown[: found + len(text)]
            assert time.monotonic() < deadline, f"{text!r} is not shown: {shown[-3000:]!r}"
            assert self._read(), f"it ended without {text!r}: {shown[-3000:]!r}"

    def _shown(self) -> str:
        return _ESCAPES.sub(b"", self.got).decode("utf-8", "replace").replace("\r\n", "\n")

    def ends(self) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self._shown()[-3000:]!r}"
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        if select.select([self._descriptor], [], [], 1.0)[0]:
            try:
                self.got += os.read(self._descriptor, 65536)
            except OSError:  # everybody has closed the other end
                return False
        return True


@contextmanager
def typing_at(
    command: Sequence[str], environ: Mapping[str, str], *, lines: int = 40, columns: int = 100
) -> Iterator[Typist]:
    """Start `command` on a terminal that is its own; it is killed at the end if it still runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environ = {**environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    os.close(theirs)
    try:
        yield Typist(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
