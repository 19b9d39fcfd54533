"""Maps exceptions to the ending of the step that they leave."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Mapping
from typing import Final

from steptrail.producers.steps.exception_facts import leaves_of, members_of
from steptrail.schemas.status import ProcessingStatus

ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]
Meanings = Mapping[type[BaseException], ProcessingStatus]
"""The statuses of exceptions that somebody named; the nearest class of an exception counts."""

_CANCELLATIONS: Final = (asyncio.CancelledError, concurrent.futures.CancelledError)
_CANCELLATIONS_ELSEWHERE: Final = frozenset({("trio", "Cancelled"), ("greenlet", "GreenletExit")})
_WORST_LAST: Final = (
    ProcessingStatus.SUCCESS,
    ProcessingStatus.SKIPPED,
    ProcessingStatus.ERROR,
    ProcessingStatus.FAILED,
)


def meanings(fatal: object, error_on: object, skip_on: object, otherwise: Meanings) -> Meanings:
    """The meanings of these exception types; `otherwise` covers all others.

    Raises TypeError for anything but an exception type, ValueError for one named twice.
    """
    if fatal == () and error_on == () and skip_on == ():
        return otherwise
    named: dict[type[BaseException], ProcessingStatus] = {}
    given: dict[type[BaseException], str] = {}
    for name, kinds, status in (
        ("fatal", fatal, ProcessingStatus.FAILED),
        ("error_on", error_on, ProcessingStatus.ERROR),
        ("skip_on", skip_on, ProcessingStatus.SKIPPED),
    ):
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"{name} must be an exception type or a tuple of them, not {kind!r}")
            if given.setdefault(kind, name) != name:
                raise ValueError(f"{kind.__qualname__} is in {given[kind]} and in {name}; name it once")
            named[kind] = status
    return {**otherwise, **named}


def status_of(error: BaseException, named: Meanings) -> ProcessingStatus:
    """FAILED, ERROR or SKIPPED; SUCCESS when the work ended as if it had returned.

    Named types take precedence. A group counts as its worst member.
    """
    for kind in type(error).__mro__:
        if kind in named:
            return named[kind]
    if members_of(error):
        return max((status_of(leaf, named) for leaf in leaves_of(error)), key=_WORST_LAST.index)
    if isinstance(error, GeneratorExit):
        return ProcessingStatus.SKIPPED if was_abandoned(error) else ProcessingStatus.SUCCESS
    if isinstance(error, SystemExit):
        return ProcessingStatus.SUCCESS if error.code in (None, 0) else ProcessingStatus.ERROR
    return ProcessingStatus.SKIPPED if _is_cancellation(error) else ProcessingStatus.ERROR


def was_abandoned(error: GeneratorExit) -> bool:
    """Whether it closed a coroutine, whose work is then incomplete; a closed generator has yielded what was wanted."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and bool(trace.tb_frame.f_code.co_flags & inspect.CO_COROUTINE)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, _CANCELLATIONS):
        return True
    return any(
        (str(kind.__module__).partition(".")[0], kind.__name__) in _CANCELLATIONS_ELSEWHERE
        for kind in type(error).__mro__
    )
