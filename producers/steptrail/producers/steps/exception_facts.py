"""Records an exception: its type, its message with the causes, and the rest as details.

Nothing here raises, however strange the exception, and everything is bounded in number and size. Texts are cut between
words, so that half a secret, which no redactor would recognize, is never sent.
"""

from __future__ import annotations

import asyncio
import re
import traceback as tracebacks
from collections.abc import Iterator
from typing import Any, Final

from steptrail.schemas.foreign import let_through

EXCEPTION_KEY: Final = "exception"
"""Where details hold what an exception has beside its type and message."""

MOST_CAUSES: Final = 10
MOST_MEMBERS: Final = 20
LONGEST_TEXT: Final = 1000
LONGEST_TRACEBACK: Final = 16_000

_DEEPEST = 3
_MOST_NODES = 60
_MOST_LEAVES = 1000
_SHOWN = 3
_LONGEST_SHOWN = 300
_FRAMES = 50
_FRAME = re.compile(r'[ |]*File "')


def type_name(kind: type) -> str:
    """`module.Class`, or only `Class` for a builtin."""
    try:
        if kind.__module__ in ("builtins", "__main__"):
            return str(kind.__qualname__)
        return f"{kind.__module__}.{kind.__qualname__}"
    except Exception as fault:  # a metaclass may do anything
        let_through(fault)
        return type.__repr__(kind)


def plain_text(value: object) -> str:
    """The value as text whose type is exactly str."""
    if type(value) is str:
        return value
    for convert in (str, repr):
        try:
            return str.__str__(convert(value))
        except Exception as fault:
            let_through(fault)
    return f"<{type_name(type(value))} without a text>"


def text_of(error: BaseException) -> str:
    """The message of an exception: `str(error)`, or a placeholder if that is empty."""
    if isinstance(error, SystemExit):
        code = error.code
        return f"exit code {int(code)}" if isinstance(code, int) else plain_text(code)
    try:
        text = str.__str__(str(error))
    except Exception as fault:  # a faulty __str__ must not replace the error itself
        let_through(fault)
        text = ""
    if not text and isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if not text and isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return text


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """The members of an exception group, Python's own or the backport's; empty for any other exception."""
    try:
        found = getattr(error, "exceptions", None)
        if isinstance(found, tuple | list) and all(isinstance(each, BaseException) for each in found):
            return tuple(found)
    except Exception as fault:  # a property of a user's exception class
        let_through(fault)
        return ()
    return ()


def leaves_of(error: BaseException) -> list[BaseException]:
    """The leaf exceptions of a group and its nested groups; the first thousand."""
    leaves: list[BaseException] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) <= _MOST_LEAVES:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        members = members_of(each)
        waiting.extend(reversed(members))
        if not members:
            leaves.append(each)
    return leaves


def message_of(error: BaseException) -> str:
    """`text_of`, and the causes or members of an exception that was raised from another or is a group.

    Error groups are distinguished by it: "step failed (caused by ValueError: no such page)".
    """
    text = text_of(error)
    if members_of(error):
        found = sorted({_said(leaf, text) for leaf in leaves_of(error)})
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        text = f"{text}: {'; '.join(found[:_SHOWN])}{more}"
    causes = [cause for cause, implicit in _causes(error, explicit_only=True)]
    if len(causes) > _SHOWN:  # the first shows what happened, the last why
        causes = [causes[0], *causes[1 - _SHOWN :]]
    if causes:
        said = ", ".join(f"caused by {_said(cause, text)}" for cause in causes)
        text = f"{text} ({said})" if text else said
    return text


def facts_of(error: BaseException, *, traceback: bool = False) -> dict[str, Any]:
    """Everything but type and message, as JSON values: `causes` (the nearest first, each with `type`,
    `message`, and `implicit` when it was only being handled), `members` of a group, `notes`, and, if asked,
    `traceback`. Empty for a plain exception.
    """
    facts = _Facts().of(error, 0)
    if traceback:
        facts["traceback"] = _traceback_of(error)
    return facts


class _Facts:
    def __init__(self) -> None:
        self.left = _MOST_NODES

    def of(self, error: BaseException, depth: int) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        causes: list[dict[str, Any]] = []
        for cause, implicit in _causes(error):
            if self.left <= 0 or len(causes) == MOST_CAUSES:
                break
            self.left -= 1
            causes.append(_brief(cause) | ({"implicit": True} if implicit else {}))
        if causes:
            facts["causes"] = causes
        members: list[dict[str, Any]] = []
        for member in members_of(error)[:MOST_MEMBERS]:
            if self.left <= 0 or depth >= _DEEPEST:
                break
            self.left -= 1
            members.append(_brief(member) | self.of(member, depth + 1))
        if members:
            facts["members"] = members
        left_out = len(members_of(error)) - len(members)
        if left_out:
            facts["members_left_out"] = left_out
        notes = getattr(error, "__notes__", None)
        if isinstance(notes, list) and notes:
            facts["notes"] = [_cut(plain_text(note), LONGEST_TEXT) for note in notes[:MOST_CAUSES]]
        return facts


def _causes(error: BaseException, *, explicit_only: bool = False) -> Iterator[tuple[BaseException, bool]]:
    """The explicit causes and, as Python shows them, implicit contexts of an exception; nearest first."""
    seen = {id(error)}
    while True:
        cause, implicit = error.__cause__, False
        if cause is None and not explicit_only and not error.__suppress_context__:
            cause, implicit = error.__context__, True
        if cause is None or id(cause) in seen or len(seen) > _MOST_NODES:
            return
        seen.add(id(cause))
        yield cause, implicit
        error = cause


def _brief(error: BaseException) -> dict[str, Any]:
    return {"type": type_name(type(error)), "message": _cut(text_of(error), LONGEST_TEXT)}


def _said(error: BaseException, already: str) -> str:
    """Type and message; omits a message that `already` contains."""
    name, text = type_name(type(error)), _cut(text_of(error), _LONGEST_SHOWN)
    return name if not text or text in already else f"{name}: {text}"


def _traceback_of(error: BaseException) -> str:
    try:
        whole = "".join(tracebacks.format_exception(type(error), error, error.__traceback__, -_FRAMES))
    except Exception as fault:
        let_through(fault)
        return f"<no traceback: {type_name(type(fault))}>"
    kept: list[str] = []
    left = LONGEST_TRACEBACK
    for line in reversed(whole.splitlines()):  # the last lines are the most useful
        line = _cut(line, LONGEST_TEXT)
        left -= len(line) + 1
        if left < 0:
            # Never from within a multi-line message, which may hold a multi-line secret.
            while kept and not _FRAME.match(kept[-1]):
                kept.pop()
            kept.append("…")
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = longest
    while end and not text[end - 1].isspace():
        end -= 1
    return text[:end].rstrip("0123456789- \t\r\n") + "…"
