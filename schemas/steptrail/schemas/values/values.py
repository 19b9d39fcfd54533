"""Normalises callers' values for events, without ever raising, at a bounded cost.

`add_step` is called in `except` blocks: a strange value must not hide the error that is being reported.
Numbers of any type become plain ones; tuples, sets and other sequences become arrays; mappings, named tuples,
dataclasses and pydantic models become objects (without the fields that their repr omits); dates and times become ISO
8601 texts, durations seconds, enum members their values, paths and UUIDs texts, UTF-8 bytes text. None of these count
as alterations. Each alteration is counted by kind:

- `repr`: a value without a JSON form, now its repr
- `base64`: bytes that are not UTF-8
- `rounded`: a Decimal or Fraction that a float cannot represent exactly
- `non_finite`: nan, an infinity or a missing time (NaT), now its name as a string
- `big_int`: an integer beyond 64 bits, now a string
- `surrogates`: lone surrogates, now escaped (`\\udcff`), so that distinct names stay distinct
- `nul`: NUL characters, now escaped (`\\x00`)
- `key`: keys of an object that were not strings
- `cycle`, `depth`: a container within itself, or nested deeper than 100 levels, now `[...]` or `{...}`
- `cut`: characters beyond a limit; `dropped`: entries beyond one, a lower bound
- `clamped`: a time or number out of bounds, now the bound
- `invalid`: an unusable time or number, omitted (a timestamp becomes the current time)

The key `_steptrail` of details is reserved for steptrail.
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
_NO_ITEMS: Final[Any] = ()
_dumps = orjson.dumps


def json_object(value: Mapping[str, Any] | None, limit_bytes: int = 256 * 1024) -> tuple[bytes, Marks | None]:
    """Convert a mapping to a JSON object's UTF-8 text, at most `limit_bytes` long; also returns the alterations.

    Never raises for a value. The alterations are None when there were none.
    """
    if type(value) is dict:
        if not value:
            return b"{}", None
        item: Any = None
        try:
            # Only values that are plain and may fit are written directly. Every event takes this path, hence it is
            # inlined, the most common types first. An entry takes five bytes at least: two quotes, a colon, a value and
            # a comma. Counted up, since small numbers cost least.
            size = 5 * len(value)
            for key, item in value.items() if size <= limit_bytes else _NO_ITEMS:
                kind = type(item)
                if kind is str:
                    size += len(item)
                elif kind is float:
                    if item - item:  # nan if not finite, which orjson writes as null
                        break
                elif kind is int or kind is bool or item is None:
                    pass
                elif kind is list or kind is dict or kind is tuple:
                    size = limit_bytes - room_after(item, limit_bytes - size)
                    if size > limit_bytes:
                        break
                else:
                    break
                size += len(key)
            else:
                if size <= limit_bytes:
                    text = _dumps(value, None, NATIVE_ONLY)
                    # It may contain an escaped NUL, which needs a backslash (92).
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
    except Exception as error:  # such as a full stack: the event matters more than its details
        let_through(error)
        return b"{}", {"dropped": 1}


def json_array(names: Iterable[str] | None, limit_bytes: int = 64 * 1024) -> tuple[bytes, Marks | None]:
    """Convert names to a JSON array's UTF-8 text, at most `limit_bytes` long; also returns the alterations.

    Never raises for a value; a non-string becomes its repr. Names are truncated like step names.
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
    """Add the alterations of each field, by name, to the details object's text under `_steptrail`."""
    found = {field: kinds for field, kinds in marks.items() if kinds}
    if not found:
        return details
    if b'"_steptrail"' in details:
        return orjson.dumps({**orjson.loads(details), MARKS_KEY: found})
    start = details[:-1] + b"," if len(details) > 2 else b"{"
    return start + b'"_steptrail":' + orjson.dumps(found) + b"}"
