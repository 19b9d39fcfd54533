"""Formats counts, shares and figures for people."""

from __future__ import annotations

import math


def counted(number: int | None, one: str, many: str | None = None) -> str:
    """`1 error`, `4,711 errors`; `many` is an irregular plural. None is `an unknown number of errors`."""
    several = many or f"{one}s"
    if number is None:
        return f"an unknown number of {several}"
    return f"{number:,} {one if number == 1 else several}"


def share(part: float, digits: int = 2) -> str:
    """A share between 0 and 1 as `12 %`, `0.35 %`, `100 %`: `digits` significant digits, never an exponent."""
    return f"{figure(part * 100, digits)} %"


def figure(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits and thousands separators, never an exponent: `0.0012`, `12.3`,
    `1,234`.
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if round(abs(value), places) >= 10 ** (digits - places):  # 9.99 rounds to 10.0: one decimal less
        places -= 1
    text = f"{value:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
