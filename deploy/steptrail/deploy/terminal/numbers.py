"""Counts and figures as people read them: `steptrail.schemas.figures`, loaded at the first use, not for --help."""

from __future__ import annotations


def counted(number: int | None, one: str, many: str | None = None) -> str:
    """`1 error`, `4,711 errors`; see `steptrail.schemas.figures.counted`."""
    from steptrail.schemas import figures

    return figures.counted(number, one, many)


def figure(value: float, digits: int = 3) -> str:
    """A number with so many digits that matter, never an exponent; see `steptrail.schemas.figures.figure`."""
    from steptrail.schemas import figures

    return figures.figure(value, digits)
