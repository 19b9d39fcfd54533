"""One supervised process: started so that nothing of it can outlive its supervisor, ended as a whole group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from steptrail.deploy.private_files import open_private

_HERE = Path(__file__).parent
_BARE_PYTHON = (sys.executable, "-I", "-S")


class Watchdog:
    """The process that ends leftover process groups when this one is gone (see the module watchdog)."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def add(self, group: int) -> None:
        """Have a process group killed when this process is gone."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def discard(self, group: int) -> None:
        """Forget a group that has ended."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def close(self) -> None:
        """End the watchdog, which kills what is still on its list."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError), process:
                pass

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._write([line])
        except OSError:  # it was killed in this very moment
            self._start()

    def _start(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [*_BARE_PYTHON, str(_HERE / "watchdog.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._write([f"+{group}" for group in sorted(self._groups)])

    def _write(self, lines: Sequence[str]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines))
        self._process.stdin.flush()


class Child:
    """A running program in a session and process group of its own, its output appended to a log file.

    Start it from the main thread: the kernel's death signal follows the *thread* that forked. Raises OSError
    when the log cannot be opened; a program that cannot be run ends at once, with the reason in the log.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environ: Mapping[str, str], watchdog: Watchdog
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child must be started from the main thread, whose life it shares")
        self._watchdog = watchdog
        self._code: int | None = None
        guarded = [*_BARE_PYTHON, str(_HERE / "exec_child.py"), str(os.getpid()), *command]
        with os.fdopen(open_private(log, os.O_WRONLY | os.O_APPEND), "ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the supervisor's own parts
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,
            )
        watchdog.add(self.pid)

    @property
    def pid(self) -> int:
        """Process id, and the id of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs. Ends what is left of an ended one."""
        if self._code is None and (code := self._process.poll()) is not None:
            self._code = code
            self._kill_group()
            self._watchdog.discard(self.pid)
        return self._code

    def terminate(self) -> None:
        """Ask it to end (SIGTERM to it alone: what it started is its own to end)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> int:
        """Kill its whole group and return its exit code; nothing to do for one that has ended."""
        if self._code is None:
            self._kill_group()
            self._process.wait()
        code = self.poll()
        assert code is not None
        return code

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """Say an exit code in words: ``exit code 3`` or ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
