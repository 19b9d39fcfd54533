"""Columnar state of many steps: one numpy array per value, one row per step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, get_type_hints

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Number: TypeAlias = "float | Floats"
"""One value for every step, or a column with one for each: the arithmetic is the same."""

LONG_AGO = -(2**40)
"""A slot number before every other."""


def column(
    kind: Any = np.float64, initial: float = 0, width: tuple[int, ...] = (), *, added: bool = False
) -> Any:
    """Declare a field of `Columns`: its type in memory, the value of a new row, the shape of one row.

    `added`: earlier releases of the rule lack it, so a snapshot may too; it then starts with `initial`.
    """
    return field(metadata={"kind": kind, "initial": initial, "width": width, "added": added})


@dataclass
class Columns:
    """Base class of the state of steps: every field is an array with one row per step.

    Copies of rows and snapshots are bit-exact.
    """

    @classmethod
    def of(cls, rows: int) -> Self:
        """Initial state for `rows` new steps."""
        return cls(**{f.name: _blank(f.metadata, rows) for f in fields(cls)})

    @property
    def rows(self) -> int:
        """Number of steps."""
        return len(getattr(self, fields(self)[0].name))

    def extend(self, more: int) -> None:
        """Add `more` new rows at the end."""
        for f in fields(self):
            setattr(self, f.name, np.concatenate([getattr(self, f.name), _blank(f.metadata, more)]))

    def keep(self, rows: Ints) -> None:
        """Keep these rows, in this order, and forget the others."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name)[rows])

    def arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Every column by its name."""
        for f in fields(self):
            yield f.name, getattr(self, f.name)

    def added(self) -> Iterator[str]:
        """Names of the columns that an older snapshot may lack."""
        yield from (f.name for f in fields(self) if f.metadata["added"])


class Grouped:
    """Base class of a rule's state: a dataclass whose `Columns` fields have the same rows."""

    @classmethod
    def of(cls, rows: int) -> Self:
        """Initial state for `rows` new steps."""
        hints = get_type_hints(cls)
        parts = {name: hint for name, hint in hints.items() if _is_columns(hint)}
        return cls(**{name: hint.of(rows) for name, hint in parts.items()})

    def columns(self) -> Iterator[tuple[str, Columns]]:
        """Every group of columns by its name."""
        yield from ((name, value) for name, value in vars(self).items() if isinstance(value, Columns))

    def extend(self, more: int) -> None:
        """Add `more` new rows at the end."""
        for _, columns in self.columns():
            columns.extend(more)

    def keep(self, rows: Ints) -> None:
        """Keep these rows, in this order, and forget the others."""
        for _, columns in self.columns():
            columns.keep(rows)


def _is_columns(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Columns)


def _blank(metadata: Any, rows: int) -> npt.NDArray[Any]:
    return np.full((rows, *metadata["width"]), metadata["initial"], metadata["kind"])
