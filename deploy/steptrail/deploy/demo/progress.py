"""Progress of a demonstration on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TaskID as _TaskID

from steptrail.deploy.terminal.output import console

#: Seconds between two plain lines about the same stage.
_LINE_EVERY_S = 2.0


class Display(Protocol):
    """Shows progress. `stage` begins something, `counted` is how much of it is done, `end` ends it."""

    def stage(self, text: str, total: int | None = None) -> None:
        """Something begins; `total` is how many there are, None where nobody counts."""
        ...

    def counted(self, done: int, total: int | None = None) -> None:
        """So many are done; `total` replaces the stage's."""
        ...

    def end(self) -> None:
        """Nothing more comes."""
        ...


class Bars:
    """A line with a bar for each stage."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            console=console(sys.stderr),
            redirect_stdout=False,  # it would lead others past the guard
            redirect_stderr=False,
        )
        self._progress.start()
        self._task: _TaskID | None = None

    def stage(self, text: str, total: int | None = None) -> None:
        """See Display."""
        self._finish()
        self._task = self._progress.add_task(text, total=total, counted="")

    def counted(self, done: int, total: int | None = None) -> None:
        """See Display."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, counted=f"{done:,}")

    def end(self) -> None:
        """See Display."""
        self._finish()
        self._progress.stop()

    def _finish(self) -> None:
        if self._task is None:
            return
        task = next(task for task in self._progress.tasks if task.id == self._task)
        if task.total is None:
            self._progress.update(self._task, total=1, completed=1)
        self._progress.stop_task(self._task)
        self._task = None


class Lines:
    """A line for each stage, and one every two seconds while it lasts."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._said = 0.0
        self._total: int | None = None

    def stage(self, text: str, total: int | None = None) -> None:
        """See Display."""
        self._total = total
        self._say(f"{text} ({total:,})" if total is not None else text)

    def counted(self, done: int, total: int | None = None) -> None:
        """See Display."""
        total = self._total if total is None else total
        if done == total or time.monotonic() - self._said >= _LINE_EVERY_S:
            self._say(f"  {done:,}" + (f" of {total:,}" if total is not None else ""))

    def end(self) -> None:
        """See Display."""

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        sys.stderr.write(f"[{self._said - self._started:6.1f} s] {text}\n")
        sys.stderr.flush()


def display() -> Display:
    """Bars on a terminal, lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()
