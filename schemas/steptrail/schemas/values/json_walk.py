"""Converts a value of any type to JSON in one bounded walk.

The cost is bounded before anything is serialised: the walk stops when the text is full or the work budget is spent,
whichever comes first, however large, deep or endless the value is.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from steptrail.schemas.foreign import let_through, unwrapped
from steptrail.schemas.values.clean_texts import Marks, count_mark, cut_piece
from steptrail.schemas.values.json_forms import NO_FORM, SIZED, form_of, is_sequence
from steptrail.schemas.values.plain_json import MAX_DEPTH, plain_text
from steptrail.schemas.values.plain_numbers import plain_number

_MAX_KEY: Final = 1024
_MAX_REPR: Final = 8192
_SHORT_TEXT: Final = 256
_TEXT_LIMITS: Final = (4096, _SHORT_TEXT)
_FEW_ENTRIES: Final = 256
_LEAST_WORK: Final = 1000
_BYTES_PER_WORK: Final = 16
_CONTAINER_WORK: Final = 3
_OTHER_WORK: Final = 4
_REPR_WORK: Final = 10
_MOST_BITS: Final = 4096  # formatting more digits is slow, and beyond 4,300 digits Python refuses


class LongText:
    """A text that is truncated only once the available room is known."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value


def walked_object(value: Mapping[Any, Any], limit: int, not_plain: Any = None) -> tuple[bytes, Marks | None]:
    """Convert a mapping to a JSON object's UTF-8 text, at most `limit` bytes long; also returns the alterations.

    `not_plain` is a value already known not to be plain JSON.
    """
    marks: Marks = {}
    walk = Walk(marks, limit)
    walk.not_plain = not_plain
    tree = walk.any(value, 0)
    if not isinstance(tree, dict):
        tree = {"repr": tree}
    text = b""
    for longest in (limit, *_TEXT_LIMITS):
        if longest > _SHORT_TEXT and _short_bytes(walk) + sum(min(n, longest) for n in walk.long) > limit:
            continue
        found = dict(marks)
        text = _dumped(tree, longest, found)
        if len(text) <= limit:
            return text, found or None
    if len(tree) > _FEW_ENTRIES:  # checking each costs more than dropping too many
        kept = len(tree) * limit * 15 // (len(text) * 16)
        count_mark(marks, "dropped", len(tree) - kept)
        tree = dict(islice(tree.items(), kept))
        text = _dumped(tree, _SHORT_TEXT, marks)
        if len(text) <= limit:
            return text, marks
    return _first_entries(tree, limit, marks), marks


def _dumped(tree: Any, longest: int, marks: Marks) -> bytes:
    return _dumps(tree, lambda text: cut_piece(text.value, longest, marks))


def _dumps(tree: Any, short: Callable[[LongText], str]) -> bytes:
    try:
        return orjson.dumps(tree, short)
    except TypeError as error:
        raise unwrapped(error)  # noqa: B904  chaining would alter a foreign exception


def _first_entries(tree: dict[str, Any], limit: int, marks: Marks) -> bytes:
    parts: list[bytes] = []
    size = 2
    for key, item in tree.items():
        name = orjson.dumps(key) + b":"
        room = limit - size - len(name) - 1
        found = dict(marks)
        part = _dumped(item, _SHORT_TEXT, found) if room > 0 else b""
        if len(part) > room > 0 and type(item) is list and len(item) > 1:
            kept = len(item) * room * 7 // (len(part) * 8)
            found = dict(marks)
            count_mark(found, "dropped", len(item) - kept)
            part = _dumped(item[:kept], _SHORT_TEXT, found)
        if not part or len(part) > room:
            count_mark(marks, "dropped")
            continue
        marks.update(found)
        size += len(name) + len(part) + 1
        parts.append(name + part)
    return b"{" + b",".join(parts) + b"}"


class Walk:
    """Copies a value to JSON types and LongText, of about `limit` bytes."""

    def __init__(self, marks: Marks, limit: int) -> None:
        self.marks = marks
        self.limit = limit
        self.room = limit
        self.work = max(limit // _BYTES_PER_WORK, _LEAST_WORK)
        """Steps that are left; a plain value is one, what needs a form or a repr is several."""
        self.long: list[int] = []
        """The lengths of the long texts."""
        self.not_plain: Any = None
        self.above: set[int] = set()

    def any(self, value: Any, depth: int) -> Any:
        """Convert a value to JSON types."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            self.room -= 4
            return value
        if kind is int:
            if -1_000_000 < value < 1_000_000:
                self.room -= 4 if value < 1000 else 7
                return value
            return self.integer(value)
        if kind is float:
            return self.real(value)
        if kind is dict or kind is list or kind is tuple:
            return self.container(value, depth)
        return self.other(value, depth)

    def other(self, value: Any, depth: int) -> Any:
        """Convert a value of a non-JSON type to its form, or its repr."""
        self.work -= _OTHER_WORK
        try:
            if not isinstance(value, enum.Enum):
                if isinstance(value, str):
                    return self.text(str.__getitem__(value, slice(self.limit + 1)))
                if isinstance(value, int | float):
                    return self.any(plain_number(value), depth)
                if is_sequence(value):
                    return self.container(value, depth)
                if not hasattr(type(value), "__float__") and isinstance(value, Mapping):
                    return self.container(value, depth)
            form, altered = form_of(value, self.limit, max(self.work, 0))
        except Exception as error:
            let_through(error)
            form, altered = NO_FORM, None
        if form is NO_FORM:
            return self.repr_of(value)
        if depth >= MAX_DEPTH or id(value) in self.above:
            count_mark(self.marks, "depth" if depth >= MAX_DEPTH else "cycle")
            return "{...}"
        if altered is not None:
            count_mark(self.marks, altered)
        self.above.add(id(value))
        try:
            return self.any(form, depth + 1)
        finally:
            self.above.discard(id(value))

    def text(self, value: str) -> str | LongText:
        """Clean a short text; wrap a long one."""
        size = len(value)
        if size > _SHORT_TEXT:
            self.long.append(size)
            self.room -= _SHORT_TEXT
            return LongText(value)
        if not value.isascii() or "\0" in value:
            value = cut_piece(value, self.limit, self.marks)
            size = len(value.encode())
            if size > _SHORT_TEXT:
                self.long.append(size)
                self.room -= _SHORT_TEXT
                return LongText(value)
        self.room -= size + 3
        return value

    def integer(self, value: int) -> int | str:
        """The number, or its digits as text beyond 64 bits."""
        bits = value.bit_length()
        if bits < 64 or -(2**63) <= value < 2**64:
            self.room -= 2 + (bits >> 2)
            return value
        count_mark(self.marks, "big_int")
        self.work -= _REPR_WORK + (bits >> 6)
        try:
            if bits <= _MOST_BITS:
                return self._short(str(value))
        except ValueError:  # Python's digit limit is configurable
            pass
        more = max(bits - 4 * _MAX_REPR, 0)
        if more:
            count_mark(self.marks, "cut", more // 4)
        return self._short(hex(value >> more))

    def real(self, value: float) -> float | str:
        """The number, or its name if it is not finite."""
        self.room -= 8
        if math.isfinite(value):
            return value
        count_mark(self.marks, "non_finite")
        return repr(value)

    def container(self, value: Any, depth: int) -> Any:
        """An object or an array; a top-level one leaves an eighth of the room to those after it."""
        mapping = isinstance(value, Mapping)
        if id(value) in self.above or depth >= MAX_DEPTH:
            count_mark(self.marks, "cycle" if id(value) in self.above else "depth")
            self.room -= 8
            return "{...}" if mapping else "[...]"
        room = work = 0
        if depth == 1:
            room, work = self.room >> 3, self.work >> 3
            if (type(value) is dict or type(value) is list) and value is not self.not_plain:
                text, in_vain = plain_text(value, self.room - room)
                if text is not None:
                    self.room -= len(text)
                    return orjson.Fragment(text)
                self.work -= in_vain // _BYTES_PER_WORK
        self.room -= room
        self.work -= work + _CONTAINER_WORK
        self.room -= 2
        self.above.add(id(value))
        try:
            return self.object(value, depth) if mapping else self.array(value, depth)
        finally:
            self.above.discard(id(value))
            self.room += room
            self.work += work

    def object(self, value: Mapping[Any, Any], depth: int) -> Any:
        """As much of a mapping as fits."""
        out: dict[str, Any] = {}
        same: dict[str, int] = {}
        pairs: Iterator[tuple[Any, Any]]
        is_dict = isinstance(value, dict)
        pairs = iter(dict.items(value)) if isinstance(value, dict) else ((key, value[key]) for key in value)
        try:
            for key, item in pairs:
                self.work -= 1 if is_dict else _OTHER_WORK
                if self.work < 0 or self.room <= 0:
                    count_mark(self.marks, "dropped", _left(value, len(out)))
                    break
                if type(key) is str and len(key) <= _SHORT_TEXT and key.isascii() and "\0" not in key:
                    self.room -= len(key) + 4
                    name = key
                else:
                    name = self.key(key)
                unused = name
                while unused in out:
                    same[name] = same.get(name, 1) + 1
                    unused = f"{name}#{same[name]}"
                out[unused] = self.any(item, depth + 1)
        except RecursionError:
            raise
        except Exception as error:  # a caller's mapping class raises, or another thread changes the mapping
            let_through(error)
            if not out and not isinstance(value, dict):
                return self.repr_of(value)
            count_mark(self.marks, "dropped")
        return out

    def array(self, value: Any, depth: int) -> Any:
        """As many elements as fit."""
        out: list[Any] = []
        try:
            for item in _in_order(value, self.work):
                self.work -= 1
                if self.work < 0 or self.room <= 0:
                    count_mark(self.marks, "dropped", _left(value, len(out)))
                    break
                out.append(self.any(item, depth + 1))
        except RecursionError:
            raise
        except Exception as error:
            let_through(error)
            if not out and type(value) is not list:
                return self.repr_of(value)
            count_mark(self.marks, "dropped")
        return out

    def key(self, key: Any) -> str:
        """A key as a text."""
        if type(key) is not str:
            if isinstance(key, str) and not isinstance(key, enum.Enum):
                key = str.__getitem__(key, slice(_MAX_KEY + 1))
            else:
                key = self._other_key(key)
        if len(key) > _SHORT_TEXT or not key.isascii() or "\0" in key:
            key = cut_piece(key, min(self.limit, _MAX_KEY), self.marks)
        self.room -= len(key) + 4
        return key  # type: ignore[no-any-return]

    def _other_key(self, key: Any) -> str:
        count_mark(self.marks, "key")
        self.work -= _OTHER_WORK
        if type(key) is tuple and len(key) <= 8 and all(type(part) in _PARTS_OF_KEYS for part in key):
            return self._short(repr(tuple(part[:64] if type(part) is str else part for part in key)))
        plain = self.any(key, MAX_DEPTH - 1)
        if isinstance(plain, LongText):
            return plain.value
        return plain if isinstance(plain, str) else _dumps(plain, _head)[:_MAX_KEY].decode(errors="ignore")

    def repr_of(self, value: Any) -> str:
        """The value's repr as text."""
        count_mark(self.marks, "repr")
        self.work -= _REPR_WORK
        try:
            written_by: Any = type(value).__repr__
            text = self._exception(value) if written_by is BaseException.__repr__ else repr(value)
        except Exception as error:
            let_through(error)
            text = f"<{type(value).__name__} without a repr>"
        return self._short(text)

    def _exception(self, value: BaseException) -> str:
        """As its repr, without looking at more of its arguments than is kept; a container in it is JSON."""
        parts: list[str] = []
        for arg in value.args:
            if self.work < 0 or self.room <= 0:
                count_mark(self.marks, "dropped", len(value.args) - len(parts))
                break
            self.work -= 1
            if type(arg) is str or type(arg) is bytes:
                parts.append(repr(arg[:_MAX_REPR]))
            elif type(arg) in _PARTS_OF_KEYS and type(arg) is not int:
                parts.append(repr(arg))
            else:
                parts.append(_dumps(self.any(arg, MAX_DEPTH - 2), _head).decode(errors="replace"))
            self.room -= len(parts[-1])
        return f"{type(value).__name__}({', '.join(parts)})"

    def _short(self, text: str) -> str:
        text = cut_piece(text, min(self.limit, _MAX_REPR), self.marks)
        self.work -= len(text) >> 6
        self.room -= len(text) + 3
        return text


def _head(text: LongText) -> str:
    return text.value[:_MAX_KEY]


def _short_bytes(walk: Walk) -> int:
    """The least number of bytes of everything but long texts."""
    return walk.limit - walk.room - _SHORT_TEXT * len(walk.long)


_PARTS_OF_KEYS: Final = frozenset({str, int, float, bool, type(None)})


def _in_order(value: Any, most: int) -> Iterator[Any]:
    """Iterate over a value; sort sets that are not too large, so that equal sets give equal text."""
    if isinstance(value, set | frozenset) and len(value) <= most:
        for kind in (str, int):
            if all(type(item) is kind for item in value):
                return iter(sorted(value))
    return iter(value)


def _left(value: Any, taken: int) -> int:
    """How many elements were not taken; 1 if the number is unknown."""
    if isinstance(value, SIZED):
        try:
            return max(len(value) - taken, 1)
        except Exception as error:
            let_through(error)
            return 1
    return 1
