"""Recognizes foreign exceptions raised into steptrail's code: time limits, Ctrl-C, exceptions from another thread.

A raising signal handler and PyThreadState_SetAsyncExc raise between any two instructions of the running code. Such an
exception is addressed to the program, not a fault of the interrupted code. Wherever steptrail catches `Exception`,
because a caller's value may raise anything, it first lets foreign exceptions through.

Its type does not identify it: Celery's SoftTimeLimitExceeded is an `Exception` like one from a faulty `__repr__`. Its
traceback does: a signal handler receives the very frame that it interrupted, and an exception from another thread
comes from an instruction that cannot raise by itself.
"""

from __future__ import annotations

import dis
from types import FrameType, TracebackType
from typing import Final

_RAISES: Final = {dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE") if name in dis.opmap}
# At these instructions the interpreter checks for exceptions from other threads, and nothing else can fail.
_LOOKS: Final = {
    dis.opmap[name] for name in ("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE") if name in dis.opmap
}
_EMPTY: Final = 8  # bytes; code from PyCode_NewEmpty is shorter
_MARK: Final = "_steptrail_foreign"
_OF_THE_INTERPRETER: Final = (RecursionError, MemoryError, StopIteration, StopAsyncIteration)


def let_through(error: BaseException) -> None:
    """Re-raise `error`, the same object, if it is foreign: the first line of an `except Exception`."""
    if is_foreign(error):
        raise error


def unwrapped(error: BaseException) -> BaseException:
    """Unwrap an exception from a callback that raises nothing by itself, as a C library reports it: wrapped, and
    without a traceback that would identify it as foreign.
    """
    cause = error.__cause__
    if cause is None:
        return error
    cause.__dict__[_MARK] = True
    return cause


def is_foreign(error: BaseException) -> bool:
    """Whether an exception that was just caught was raised neither by the code in the `try` nor by its callees.

    A BaseException that is not an `Exception` always is foreign. Without a handler's frame (a handler written in C) and
    without a sign of another thread, an exception counts as the code's own.
    """
    if not isinstance(error, Exception) or _MARK in error.__dict__:
        return True
    trace = error.__traceback__
    if trace is None or isinstance(error, RecursionError):
        return False
    while trace.tb_next is not None:
        if _interrupts(trace.tb_next.tb_frame, trace.tb_frame):
            return True
        trace = trace.tb_next
    return _came_from_another_thread(error, trace)


def _interrupts(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether a frame received the previous one as an argument, as signal handlers do."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    has_more = bool(code.co_flags & 0x04)  # *args
    values = frame.f_locals
    for number, name in enumerate(code.co_varnames[: count + has_more]):
        value = values.get(name)
        if value is interrupted:
            return True
        if has_more and number == count and isinstance(value, tuple):
            return any(item is interrupted for item in value)
    return False


def _came_from_another_thread(error: Exception, innermost: TracebackType) -> bool:
    code, at = innermost.tb_frame.f_code.co_code, innermost.tb_lasti
    if len(code) <= _EMPTY and not innermost.tb_frame.f_code.co_consts:
        return False  # a frame that Cython created for a traceback
    if not 0 <= at < len(code) or code[at] in _RAISES:
        return False
    if code[at] in _LOOKS:
        return not isinstance(error, _OF_THE_INTERPRETER)
    # A call. Failures in C have a message; another thread raises a class, instantiated without arguments.
    return not error.args and not isinstance(error, _OF_THE_INTERPRETER)
