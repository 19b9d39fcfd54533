"""Exceptions raised into code at every point where the interpreter looks for signals, one run a point."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_CALLS = {number for name, number in dis.opmap.items() if name.startswith(("CALL", "PRECALL"))}
_LOOKS = {dis.opmap[name] for name in ("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE") if name in dis.opmap}
_CAUGHT = dis.opmap.get("PUSH_EXC_INFO")  # the call raised: nothing looks for signals then


class TimeUp(Exception):
    """As Celery's SoftTimeLimitExceeded, an Exception like any other."""


class Interruption:
    """Raises `error` at the `at`-th point in steptrail's frames at which a signal handler could."""

    def __init__(self, error: BaseException, at: int) -> None:
        self.error = error
        self.points = 0
        self.where: str | None = None
        self._at = at

    def run(self, call: Callable[[], Any]) -> bool:
        """Call it; whether the exception came out. Any other one is raised on."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
        except BaseException as raised:
            if raised is not self.error:
                raise
            return True
        finally:
            sys.settrace(before)
        return False

    def _enter(self, frame: FrameType, event: str, _arg: object) -> Any:
        name = frame.f_globals.get("__name__", "")
        if not (name.startswith("steptrail.") and event == "call"):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        code = frame.f_code.co_code
        previous = -1

        def step(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal previous
            if event == "opcode":
                opcode = code[frame.f_lasti]
                # After a call that is done, a function's entry, a loop's turn.
                if opcode in _LOOKS or (previous in _CALLS and opcode not in _CALLS and opcode != _CAUGHT):
                    self._handler(14, frame)
                previous = opcode
            return step

        return step

    def _handler(self, _signal: int, frame: FrameType) -> None:
        if frame.f_code.co_name in ("__exit__", "report") and frame.f_lasti <= 2:
            return  # nothing of ours can run before the first instruction of what Python, or librdkafka, calls
        if any(name == "__del__" for name in _names(frame)):
            return  # Python itself lets nothing out of there
        self.points += 1
        if self.points == self._at:
            self.where = f"{frame.f_code.co_name} in {frame.f_globals.get('__name__')}:{frame.f_lineno}"
            raise self.error


def _names(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back


def interruptions(kind: type[BaseException] = TimeUp, *, every: int = 1) -> Iterator[Interruption]:
    """One for each point that a call has (or every so manieth), until one was not reached; each is to `run` the same
    call.
    """
    at = 1
    while True:
        interruption = Interruption(kind(), at)
        yield interruption
        if interruption.where is None:
            return
        at += every
