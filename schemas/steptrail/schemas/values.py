"""Values that people hand in, made fit for an event without ever raising.

`add_step` is called in `except` blocks: a strange value must not hide the error that is being reported.
So what JSON cannot hold becomes text, and each alteration is counted under its kind:

- `repr`: a value that JSON has no form for, now its repr; bytes, datetimes, sets, objects
- `non_finite`: nan or an infinity, now its name as a string
- `big_int`: an integer beyond 64 bits, now a string
- `surrogates`: lone surrogates, now spelled out (`\\udcff`), so that two names stay two
- `nul`: NUL characters, now spelled out (`\\x00`)
- `key`: keys of an object that were not strings
- `cycle`, `depth`: a container within itself, or below level 100, now its repr
- `cut`: characters beyond a limit; `dropped`: entries beyond one

Tuples and mappings are held as arrays and objects, enumeration members as their values, UUIDs and numbers
of NumPy as what they stand for; that is no alteration. The key `_steptrail` of details is ours.
"""

from __future__ import annotations

import enum
import hashlib
import math
import numbers
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from steptrail.schemas.foreign import let_through

MARKS_KEY: Final = "_steptrail"
MAX_DEPTH: Final = 100

Marks = dict[str, int]
"""Kinds of alterations and how often each was made."""

_MAX_NODES = 50_000
_MAX_KEY = 1024
_MAX_REPR = 8192
_NATIVE_ONLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_SURROGATES = re.compile("[\ud800-\udfff]")


def json_object(value: Mapping[str, Any] | None, limit_bytes: int = 256 * 1024) -> tuple[bytes, Marks | None]:
    """The UTF-8 text of a JSON object that holds a mapping, at most `limit_bytes` long, and what was altered.

    Never raises for a value. The marks are None when nothing was altered.
    """
    if value is None:
        return b"{}", None
    if type(value) is dict:
        if not value:
            return b"{}", None
        try:
            text = orjson.dumps(value, None, _NATIVE_ONLY)
        except Exception as error:
            let_through(error)
            return _altered_object(value, limit_bytes)
        # orjson writes nan as null; and an escaped NUL may be in there.
        if (
            len(text) <= limit_bytes
            and text.find(b"\\u0000") < 0  # a third of the time that `in` takes
            and (text.find(b"null") < 0 or _nulls_are_none(value))
        ):
            return text, None
    return _altered_object(value, limit_bytes)


def json_array(names: Iterable[str] | None, limit_bytes: int = 64 * 1024) -> tuple[bytes, Marks | None]:
    """The UTF-8 text of a JSON array of strings, at most `limit_bytes` long, and what was altered.

    Never raises for a value; what is no string is altered to its repr.
    """
    if names is None:
        return b"[]", None
    marks: Marks = {}
    walk = _Walk(marks, _MAX_KEY)
    kept: list[str] = []
    size = 2
    try:
        for name in names:
            text = walk.text(name) if isinstance(name, str) else walk.repr_of(name, "repr")
            size += len(orjson.dumps(text)) + 1
            if size > limit_bytes:
                _count(marks, "dropped")
            else:
                kept.append(text)
        return orjson.dumps(kept), marks or None
    except Exception as error:
        let_through(error)
        return b"[]", {"repr": 1}


def clean_text(value: str, limit_bytes: int) -> tuple[str, Marks | None]:
    """A text as UTF-8 can hold it, without NUL, at most `limit_bytes` long, and what was altered."""
    if value.isascii():
        if len(value) <= limit_bytes and "\0" not in value:
            return value, None
    elif len(value) * 4 <= limit_bytes and "\0" not in value:
        try:
            value.encode()
            return value, None
        except UnicodeEncodeError:
            pass
    marks: Marks = {}
    return _cut(_spell_out(value, marks), limit_bytes, marks), marks or None


def identity_text(value: str, limit_bytes: int) -> tuple[str, Marks | None]:
    """As `clean_text`, for names and ids: a text that is cut ends in a hash of the whole, so that two stay two.

    Readers pass what they look for through the same function, and find it.
    """
    text, marks = clean_text(value, limit_bytes)
    if marks is None or "cut" not in marks:
        return text, marks
    whole = _spell_out(value, {})
    digest = "~" + hashlib.sha256(whole.encode()).hexdigest()[:16]
    again: Marks = {}
    text = _cut(whole, limit_bytes - len(digest), again) + digest
    return text, {**marks, **again}


def with_marks(details: bytes, marks: Mapping[str, Marks | None]) -> bytes:
    """The text of the details object with the marks of each field, by its name, under `_steptrail`."""
    found = {field: kinds for field, kinds in marks.items() if kinds}
    if not found:
        return details
    if b'"_steptrail"' in details:
        return orjson.dumps({**orjson.loads(details), MARKS_KEY: found})
    start = details[:-1] + b"," if len(details) > 2 else b"{"
    return start + b'"_steptrail":' + orjson.dumps(found) + b"}"


def _nulls_are_none(value: dict[str, Any]) -> bool:
    """Whether each null in a text comes from None; False also when a type makes that hard to say."""
    waiting: list[Any] = [value]
    while waiting:
        container = waiting.pop()
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if item is None or kind is str or kind is int or kind is bool:
                continue
            if kind is float:
                if not math.isfinite(item):
                    return False
            elif kind is dict or kind is list or kind is tuple:
                waiting.append(item)
            else:
                return False
    return True


def _altered_object(value: Mapping[Any, Any], limit: int) -> tuple[bytes, Marks | None]:
    try:
        for longest in (limit, 4096, 256):
            marks: Marks = {}
            tree = _Walk(marks, longest).any(value, 0)
            if not isinstance(tree, dict):
                tree = {"repr": tree}
            text = orjson.dumps(tree)
            if len(text) <= limit:
                return text, marks or None
        return _first_entries(tree, limit, marks), marks
    except Exception as error:  # such as too little stack left: the event matters more than its details
        let_through(error)
        return b"{}", {"dropped": 1}


def _first_entries(tree: dict[str, Any], limit: int, marks: Marks) -> bytes:
    parts: list[bytes] = []
    size = 2
    for key, item in tree.items():
        part = orjson.dumps(key) + b":" + orjson.dumps(item)
        if size + len(part) + 1 > limit:
            _count(marks, "dropped")
            continue
        size += len(part) + 1
        parts.append(part)
    return b"{" + b",".join(parts) + b"}"


class _Walk:
    """One copy of a value with JSON's types only; strings have at most `longest` bytes."""

    def __init__(self, marks: Marks, longest: int) -> None:
        self.marks = marks
        self.longest = longest
        self.nodes = 0
        self.above: set[int] = set()

    def any(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, enum.Enum):
            return self.any(value.value, depth + 1) if depth < MAX_DEPTH else self.repr_of(value, "depth")
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return self.integer(int(value))
        if isinstance(value, float):
            return self.real(float(value))
        if isinstance(value, Mapping | list | tuple):
            return self.container(value, depth)
        if isinstance(value, uuid.UUID):
            return str(value)
        return self.other(value)

    def other(self, value: Any) -> Any:
        try:
            if isinstance(value, numbers.Integral):
                return self.integer(int(value))
            if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
                return self.real(float(value))
            if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
                return bool(value)
        except Exception as error:
            let_through(error)
            return self.repr_of(value, "repr")
        return self.repr_of(value, "repr")

    def text(self, value: str) -> str:
        return _cut(_spell_out(value, self.marks), self.longest, self.marks)

    def integer(self, value: int) -> int | str:
        if -(2**63) <= value < 2**64:
            return value
        _count(self.marks, "big_int")
        try:
            return self.text(str(value))
        except ValueError:  # Python refuses to write thousands of digits
            return self.text(hex(value))

    def real(self, value: float) -> float | str:
        if math.isfinite(value):
            return value
        _count(self.marks, "non_finite")
        return repr(value)

    def container(self, value: Any, depth: int) -> Any:
        if id(value) in self.above:
            return self.repr_of(value, "cycle")
        if depth >= MAX_DEPTH:
            return self.repr_of(value, "depth")
        self.above.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self.object(value, depth)
            return self.array(value, depth)
        finally:
            self.above.discard(id(value))

    def object(self, value: Mapping[Any, Any], depth: int) -> Any:
        try:
            entries = list(value.items())
        except Exception as error:
            let_through(error)
            return self.repr_of(value, "repr")
        out: dict[str, Any] = {}
        for key, item in entries:
            if self.exhausted():
                continue
            name = unused = self.key(key)
            more = 2
            while unused in out:
                unused = f"{name}#{more}"
                more += 1
            out[unused] = self.any(item, depth + 1)
        return out

    def array(self, value: Any, depth: int) -> Any:
        try:
            items = list(value)
        except Exception as error:
            let_through(error)
            return self.repr_of(value, "repr")
        return [self.any(item, depth + 1) for item in items if not self.exhausted()]

    def exhausted(self) -> bool:
        self.nodes += 1
        if self.nodes <= _MAX_NODES:
            return False
        _count(self.marks, "dropped")
        return True

    def key(self, key: Any) -> str:
        if isinstance(key, str) and not isinstance(key, enum.Enum):
            return _cut(_spell_out(key, self.marks), min(self.longest, _MAX_KEY), self.marks)
        _count(self.marks, "key")
        plain = self.any(key, MAX_DEPTH)
        if isinstance(plain, str):
            return _cut(plain, min(self.longest, _MAX_KEY), self.marks)
        return orjson.dumps(plain).decode()

    def repr_of(self, value: Any, kind: str) -> str:
        _count(self.marks, kind)
        try:
            if isinstance(value, bytes | bytearray) and len(value) > _MAX_REPR:
                _count(self.marks, "cut", len(value) - _MAX_REPR)
                value = value[:_MAX_REPR]
            text = repr(value)
        except Exception as error:
            let_through(error)
            text = f"<{type(value).__name__} without a repr>"
        return _cut(_spell_out(text, self.marks), min(self.longest, _MAX_REPR), self.marks)


def _spell_out(value: str, marks: Marks) -> str:
    """The text, as an exact str, without NUL and lone surrogates."""
    value = str.__str__(value)
    if "\0" in value:
        _count(marks, "nul", value.count("\0"))
        value = value.replace("\0", "\\x00")
    try:
        value.encode()
    except UnicodeEncodeError:
        _count(marks, "surrogates", len(_SURROGATES.findall(value)))
        value = value.encode("utf-8", "backslashreplace").decode()
    return value


def _cut(value: str, limit: int, marks: Marks) -> str:
    """The text cut to so many bytes, at a whole character."""
    if len(value) * 4 <= limit:
        return value
    encoded = value.encode()
    if len(encoded) <= limit:
        return value
    kept = encoded[: max(limit, 0)].decode("utf-8", "ignore")
    _count(marks, "cut", len(value) - len(kept))
    return kept


def _count(marks: Marks, kind: str, more: int = 1) -> None:
    marks[kind] = marks.get(kind, 0) + more
