"""JSON forms for values of types that JSON lacks, so that SQL can use them.

A form's parts may need forms themselves; `steptrail.schemas.values.json_walk` converts them.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import os
import uuid
from array import array
from collections import UserList, UserString, deque
from collections.abc import Iterator, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from types import SimpleNamespace
from typing import Any, Final

from pydantic import BaseModel

from steptrail.schemas.values.plain_numbers import plain_number

NO_FORM: Final = object()
"""There is none: such a value becomes its repr."""

SIZED: Final = (dict, list, tuple, set, frozenset, range, array, UserList)
"""Containers whose length is that of what they hold, whoever derived a class from them."""


def is_sequence(value: Any) -> bool:
    """Whether a value is held as an array. No generator: whoever reads it takes its values from the caller."""
    if isinstance(value, bytes | bytearray | memoryview | UserString) or has_field_names(value):
        return False
    return isinstance(value, list | tuple | set | frozenset | deque | array | Sequence | Set | ValuesView)


def form_of(value: Any, longest: int, most: int) -> tuple[Any, str | None]:
    """The form of a value, and the kind of alteration, if it is one; NO_FORM if there is none.

    The form is nearer to JSON, not always JSON. Texts are limited to about `longest` bytes, arrays to `most` elements:
    a form of that length may be truncated. Raises what the value raises.
    """
    if isinstance(value, enum.Enum):
        return value.value, None
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(value, longest)
    if hasattr(type(value), "tolist") and hasattr(value, "ndim"):
        return _array(value, most)
    if isinstance(value, uuid.UUID | UserString):
        return str(value), None
    if isinstance(value, datetime | date | time):
        # pandas' NaT is a datetime that is not equal to itself.
        return (value.isoformat(), None) if value == value else (str(value), "non_finite")
    if isinstance(value, timedelta):
        return (value.total_seconds(), None) if value == value else (str(value), "non_finite")
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value), None
    if isinstance(value, type):
        return NO_FORM, None
    if has_field_names(value):
        return dict(zip(type(value)._fields, value, strict=False)), None
    number = plain_number(value)
    if number is not None:
        lossy = isinstance(value, Fraction) and isinstance(number, float) and value != number
        return number, "rounded" if lossy else None
    fields = _fields(value)
    if fields is not None:
        return dict(islice(fields, most + 1)), None
    return NO_FORM, None


def has_field_names(value: Any) -> bool:
    """Whether it is a named tuple."""
    return isinstance(value, tuple) and isinstance(getattr(type(value), "_fields", None), tuple)


def _decimal(value: Decimal) -> tuple[Any, str | None]:
    if not value.is_finite():
        return str(value).lower(), "non_finite"
    number = float(value)
    if number in (float("inf"), float("-inf")):
        return str(value), "big_int"
    if -16 < value.adjusted() < 16 and value == value.to_integral_value():
        return int(value), None
    return number, None if Decimal(repr(number)) == value else "rounded"


def _bytes(value: bytes | bytearray | memoryview, longest: int) -> tuple[Any, str | None]:
    """Decode UTF-8 to text; encode anything else as base64."""
    if isinstance(value, memoryview):
        if value.ndim != 1 and value.c_contiguous:
            value = value.cast("B")
        value = value[: longest + 4].tobytes() if value.ndim == 1 else value.tobytes()
    head = bytes(value[: longest + 4])
    try:
        return head.decode(), None
    except UnicodeDecodeError as error:
        if len(value) > len(head) and error.start > len(head) - 4:  # cut within a character
            return head[: error.start].decode() + "\ufffd", None
    return base64.b64encode(head).decode(), "base64"


def _fields(value: Any) -> Iterator[tuple[str, Any]] | None:
    """The fields of a namespace, dataclass, pydantic model or attrs class, except those that its repr omits."""
    if isinstance(value, SimpleNamespace):
        return iter(vars(value).items())
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        shown = {name for name, field in fields.items() if field.repr and not field.exclude}
        more = value.__pydantic_extra__ or {}
        return (
            (name, item)
            for own in (value.__dict__, more)
            for name, item in own.items()
            if name in shown or name in more
        )
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.repr]
    elif isinstance(attributes := getattr(type(value), "__attrs_attrs__", None), tuple):
        names = [field.name for field in attributes if field.repr]
    else:
        return None
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))


def _array(value: Any, most: int) -> tuple[Any, str | None]:
    """A NumPy array or scalar, or a similar object: at most `most` elements of its first axis."""
    is_time = getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m")  # elements may be bare numbers
    if value.ndim == 0:
        item = str(value) if is_time else value.tolist()
        if type(item) is not type(value):
            return item, None
        number = plain_number(item)
        return (NO_FORM if number is None else number), None
    part = value[: most + 1]
    if is_time:
        part = part.astype(str)
    return (part.tolist() if value.ndim == 1 else list(part)), None
