"""Exceptions that others raise into our code: time limits, Ctrl-C, what one thread raises in another.

A signal handler that raises, and PyThreadState_SetAsyncExc, raise between any two instructions of whatever runs. Such
an exception is an answer to the program, not a fault of the code that it met. Wherever we catch `Exception`, because a
value of a caller's may raise anything, we first let through what is foreign.

Its type says nothing: Celery's SoftTimeLimitExceeded is an `Exception` like those that a faulty `__repr__` raises. Its
traceback does: a signal handler is called with the very frame that it interrupted, and what another thread raises
comes from an instruction that raises nothing by itself.
"""

from __future__ import annotations

import dis
from types import FrameType, TracebackType
from typing import Final

_RAISES: Final = {dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE") if name in dis.opmap}
# Here the interpreter looks whether another thread raised something, and nothing else can fail.
_LOOKS: Final = {
    dis.opmap[name] for name in ("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE") if name in dis.opmap
}
_ASSERTS: Final = dis.opmap[
    "LOAD_ASSERTION_ERROR"
]  # in the code that stands for a function written in C, as Cython's
_FOREIGN: Final = "_steptrail_foreign"
_OF_THE_INTERPRETER: Final = (RecursionError, MemoryError, StopIteration, StopAsyncIteration)


def let_through(error: BaseException) -> None:
    """Raise `error` again, the same object, if it is foreign: the first line of an `except Exception`."""
    if is_foreign(error):
        raise error


def mark_foreign(error: BaseException) -> None:
    """Say so of one whose traceback is lost, where a library puts an error of its own in its place."""
    error.__dict__[_FOREIGN] = True


def is_foreign(error: BaseException) -> bool:
    """Whether an exception that was just caught is nothing that the code in the `try` raised, or what it called.

    What is no `Exception` always is: nobody means it for us. Without a frame of a handler (one written in C) and
    without a sign of its being raised from another thread, an exception passes for the code's own.
    """
    if not isinstance(error, Exception) or _FOREIGN in error.__dict__:
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
    """Whether a frame was called with the one before as an argument, as signal handlers are."""
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
    if not 0 <= at < len(code) or code[at] in _RAISES or (len(code) <= 6 and _ASSERTS in code[::2]):
        return False
    if code[at] in _LOOKS:
        return not isinstance(error, _OF_THE_INTERPRETER)
    # A call. What fails in C says why; what another thread raises is a class, and made without arguments.
    return not error.args and not isinstance(error, _OF_THE_INTERPRETER)
