"""Converts numbers of any type to plain Python numbers, once, before anything depends on them."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from steptrail.schemas.foreign import let_through


def plain_number(value: Any) -> int | float | None:
    """The int or float of a value; None if it is not a number. Never raises.

    Numbers are `Decimal`, `Fraction`, NumPy scalars, and anything with `__index__` or `__float__`; not bool, text or
    arrays, even of one element. A number beyond a float's range is inf.
    """
    kind = type(value)
    if kind is int or kind is float:
        return value  # type: ignore[no-any-return]
    if kind is bool or isinstance(value, str | bytes | bytearray):
        return None
    try:
        if isinstance(value, int):
            return int.__pos__(value)
        if isinstance(value, float):
            return float.__pos__(value)
        if getattr(value, "ndim", 0) or is_numpy_bool(value):
            return None
        if hasattr(kind, "__index__"):
            return int.__pos__(index(value))
        if hasattr(kind, "__float__"):
            return float.__pos__(float(value))
    except OverflowError:
        return _infinity(value)
    except Exception as error:
        let_through(error)
        # Decimal's signalling NaN cannot become a float.
        return math.nan if type(value).__name__ == "Decimal" else None
    return None


def whole_number(value: Any) -> int | None:
    """As `plain_number`, for counts: None also for a number that is not whole."""
    number = plain_number(value)
    if isinstance(number, float):
        return int(number) if number.is_integer() else None
    return number


def is_numpy_bool(value: Any) -> bool:
    """Whether it is NumPy's bool, which is not Python's; works without NumPy installed."""
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


def _infinity(value: Any) -> float | None:
    try:
        return math.inf if value > 0 else -math.inf
    except Exception as error:
        let_through(error)
        return None
