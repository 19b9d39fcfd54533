"""Rows side by side: members, each a process with a world of its own, take rows from one list.

Most of a row's time is waiting: for a session to run out, a broker to start, a store to be away. A member is
`run.py --member`; it reads a row's number from its input, runs the row and writes the row's line to its output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from faults.matrix import ROWS

_LEAVE_S = 60.0


def side_by_side(numbers: Sequence[int], members: int, command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of these rows, as they are done. `command` starts a member."""
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in numbers:
        waiting.put(number)
    done: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def work() -> None:
        member = Member(command)
        try:
            while (number := _next(waiting)) is not None:
                done.put(member.run(number))
        finally:
            member.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(members, len(numbers)))]
    for thread in threads:
        thread.start()
    for _ in numbers:
        yield done.get()
    for thread in threads:
        thread.join()


def _next(waiting: SimpleQueue[int]) -> int | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


class Member:
    """A process that runs rows, one after the other; started anew after one that died."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def run(self, number: int) -> dict[str, Any]:
        """The row's line; one that says so when the process died over it."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            line: dict[str, Any] = json.loads(answer)
            return line
        self._process = None
        wrong = f"the process that ran the row ended with {process.wait()}"
        return {"row": number, "fault": ROWS[number].fault, "ok": False, "detail": {"wrong": [wrong]}}

    def close(self) -> None:
        """End it in order."""
        if (process := self._process) is None:
            return
        try:
            process.communicate(timeout=_LEAVE_S)  # closes its input, which is the end of it
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(run: Callable[[int], dict[str, Any]]) -> None:
    """Be a member: run the rows that the input names, until it ends."""
    for number in sys.stdin:
        print(json.dumps(run(int(number)), ensure_ascii=False), flush=True)
