"""Values that people hand in, made fit for an event without ever raising, and at a bounded cost.

`add_step` is called in `except` blocks: a strange value must not hide the error that is being reported.
Numbers of any kind become plain ones; tuples, sets and other sequences arrays; mappings, named tuples, dataclasses
and models of pydantic's objects (without the fields that their repr leaves out); dates and times ISO 8601 texts,
durations seconds, members of enumerations their values, paths and UUIDs texts, bytes the text that they are in UTF-8.
That is no alteration. Each alteration is counted under its kind:

- `repr`: a value that JSON has no form for, now its repr
- `base64`: bytes that are no UTF-8
- `rounded`: a Decimal or Fraction that a float does not hold exactly
- `non_finite`: nan, an infinity or a time that is none, now its name as a string
- `big_int`: a number beyond what 64 bits hold, now a string
- `surrogates`: lone surrogates, now spelled out (`\\udcff`), so that two names stay two
- `nul`: NUL characters, now spelled out (`\\x00`)
- `key`: keys of an object that were not strings
- `cycle`, `depth`: a container within itself, or below level 100, now `[...]` or `{...}`
- `cut`: characters beyond a limit; `dropped`: entries beyond one, at least so many
- `clamped`: a time or number beyond its bounds, now the bound
- `invalid`: a time or number that is of no use as such, left out (for a timestamp: it is now)

The key `_steptrail` of details is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from steptrail.schemas.foreign import let_through
from steptrail.schemas.values.clean_texts import Marks, clean_text, count_mark, identity_text
from steptrail.schemas.values.json_walk import Walk, walked_object
from steptrail.schemas.values.plain_json import MAX_DEPTH, NATIVE_ONLY, room_after

__all__ = [
    "MARKS_KEY",
    "MAX_DEPTH",
    "Marks",
    "clean_text",
    "identity_text",
    "json_array",
    "json_object",
    "with_marks",
]

MARKS_KEY: Final = "_steptrail"

_MAX_NAME = 1024
_dumps = orjson.dumps


def json_object(value: Mapping[str, Any] | None, limit_bytes: int = 256 * 1024) -> tuple[bytes, Marks | None]:
    """The UTF-8 text of a JSON object that holds a mapping, at most `limit_bytes` long, and what was altered.

    Never raises for a value. The marks are None when nothing was altered.
    """
    if type(value) is dict:
        if not value:
            return b"{}", None
        item: Any = None
        try:
            # Only what is seen to be plain and to have a chance to fit is written at once. This is in every event's
            # way, hence spelled out here, and what is common first.
            room = limit_bytes
            for key, item in value.items():
                kind = type(item)
                if kind is str:
                    room -= len(item)
                elif kind is float:
                    if item - item:  # nan for what is not finite, which orjson writes as null
                        break
                elif kind is int or kind is bool or item is None:
                    pass
                elif kind is list or kind is dict or kind is tuple:
                    room = room_after(item, room)
                else:
                    break
                room -= len(key)
                if room < 0:
                    break
            else:
                text = _dumps(value, None, NATIVE_ONLY)
                # An escaped NUL may be in there, which needs a backslash (92).
                if len(text) <= limit_bytes and (92 not in text or text.find(b"\\u0000") < 0):
                    return text, None
        except Exception as error:  # such as lone surrogates
            let_through(error)
    elif value is None:
        return b"{}", None
    else:
        item = None
    try:
        return walked_object(value, limit_bytes, item)
    except Exception as error:  # such as too little stack left: the event matters more than its details
        let_through(error)
        return b"{}", {"dropped": 1}


def json_array(names: Iterable[str] | None, limit_bytes: int = 64 * 1024) -> tuple[bytes, Marks | None]:
    """The UTF-8 text of a JSON array of strings, at most `limit_bytes` long, and what was altered.

    Never raises for a value; what is no string is altered to its repr. A name is cut as names of steps are.
    """
    if names is None:
        return b"[]", None
    marks: Marks = {}
    walk = Walk(marks, _MAX_NAME)
    kept: list[str] = []
    seen = 0
    size = 2
    try:
        for name in islice(names, limit_bytes // 3 + 1):
            seen += 1
            if isinstance(name, str):
                text, found = identity_text(name, _MAX_NAME)
                for kind, more in (found or {}).items():
                    count_mark(marks, kind, more)
            else:
                text = walk.repr_of(name)
            size += len(orjson.dumps(text)) + 1
            if size > limit_bytes:
                seen -= 1
                break
            kept.append(text)
        if isinstance(names, list | tuple | set | frozenset | dict) and len(names) > seen:
            count_mark(marks, "dropped", len(names) - seen)
        elif size > limit_bytes:
            count_mark(marks, "dropped")
        return orjson.dumps(kept), marks or None
    except Exception as error:
        let_through(error)
        return orjson.dumps(kept), {**marks, "repr": marks.get("repr", 0) + 1}


def with_marks(details: bytes, marks: Mapping[str, Marks | None]) -> bytes:
    """The text of the details object with the marks of each field, by its name, under `_steptrail`."""
    found = {field: kinds for field, kinds in marks.items() if kinds}
    if not found:
        return details
    if b'"_steptrail"' in details:
        return orjson.dumps({**orjson.loads(details), MARKS_KEY: found})
    start = details[:-1] + b"," if len(details) > 2 else b"{"
    return start + b'"_steptrail":' + orjson.dumps(found) + b"}"
