"""All that the rules remember: columns for each step, bounded, in and out of a snapshot to the bit."""

# ruff: noqa: RUF009  column() declares a field, as dataclasses.field() does

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.columns import Columns, Grouped, Ints, column
from steptrail.consumers.health.rules.durations import DurationRule
from steptrail.consumers.health.rules.errors import ErrorRule
from steptrail.consumers.health.rules.losses import LossWindow
from steptrail.consumers.health.rules.policy import Threshold
from steptrail.consumers.health.rules.silence import SilenceRule
from steptrail.consumers.health.rules.slots import StepKey
from steptrail.consumers.health.rules.thresholds import ThresholdWindow
from steptrail.schemas.errors import DataError

FORMAT = 1
_ADDED = frozenset(("standing.stalls.queued",))
"""Columns that snapshots of earlier versions do not have: they begin as they do for new steps."""
_LEVEL = 1  # zlib: most columns are zeros, more effort gains little


class SnapshotError(DataError):
    """A snapshot cannot be read: it is of another version, or damaged. Take an older one, or replay from the start."""


@dataclass
class Said(Columns):
    """What was said of each step: every rule's level in two bits, and the slot at whose begin the status became so."""

    levels: Ints = column(np.int64)
    status: Ints = column(np.int64)
    since: Ints = column(np.int64)


@dataclass
class Stalls(Columns):
    """Executions that are stalled now, those of them that are `queued`, and the slot in which the latest was found."""

    count: Ints = column(np.int64)
    latest: Ints = column(np.int64)
    queued: Ints = column(np.int64)


@dataclass
class Standing(Grouped):
    """What is kept beside the rules."""

    said: Said
    stalls: Stalls


@dataclass
class State:
    """State of every step (row i belongs to `keys[i]`), and of the pipelines.

    `said_of` holds for each pipeline, and for everything as None, what was said last: (status, rules and statuses
    that spoke, since slot).
    """

    keys: list[StepKey] = field(default_factory=list)
    errors: ErrorRule = field(default_factory=lambda: ErrorRule.of(0))
    durations: DurationRule = field(default_factory=lambda: DurationRule.of(0))
    silence: SilenceRule = field(default_factory=lambda: SilenceRule.of(0))
    standing: Standing = field(default_factory=lambda: Standing(Said.of(0), Stalls.of(0)))
    thresholds: dict[StepKey, list[ThresholdWindow]] = field(default_factory=dict)
    losses: dict[str, LossWindow] = field(default_factory=dict)
    said_of: dict[str | None, tuple[str, str, int]] = field(default_factory=dict)
    refused: int = 0
    next_slot: int | None = None

    def __post_init__(self) -> None:
        self.index = {key: row for row, key in enumerate(self.keys)}

    def groups(self) -> Iterator[tuple[str, Grouped]]:
        """Every rule's state by its name."""
        yield from (
            ("errors", self.errors),
            ("durations", self.durations),
            ("silence", self.silence),
            ("standing", self.standing),
        )

    def add(self, keys: list[StepKey]) -> None:
        """Begin to remember these steps, which must be new."""
        if not keys:
            return
        for key in keys:
            self.index[key] = len(self.keys)
            self.keys.append(key)
        for _, group in self.groups():
            group.extend(len(keys))

    def forget(self, rows: Ints) -> list[StepKey]:
        """Forget these rows; return whose they were."""
        gone = [self.keys[row] for row in rows]
        kept = np.setdiff1d(np.arange(len(self.keys)), rows)
        self.keys = [self.keys[row] for row in kept]
        self.index = {key: row for row, key in enumerate(self.keys)}
        for _, group in self.groups():
            group.keep(kept)
        for key in gone:
            self.thresholds.pop(key, None)
        return gone

    def nbytes(self) -> int:
        """Bytes of all columns in memory."""
        return sum(array.nbytes for _, array in self._arrays())

    def to_bytes(self) -> bytes:
        """A snapshot: a JSON header and the columns, compressed together."""
        header = {
            "format": FORMAT,
            "slot_s": SLOT_S,
            "next_slot": self.next_slot,
            "refused": self.refused,
            "keys": self.keys,
            "said_of": [[pipeline, *said] for pipeline, said in self.said_of.items()],
            "losses": {pipeline: vars(window) for pipeline, window in self.losses.items()},
            "thresholds": [
                [*key, [[vars(window.threshold), list(window.parts)] for window in windows]]
                for key, windows in self.thresholds.items()
            ],
            "columns": [[name, str(array.dtype), array.nbytes] for name, array in self._arrays()],
        }
        head = orjson.dumps(header)
        parts = [len(head).to_bytes(8, "little"), head, *(_planes(array) for _, array in self._arrays())]
        return zlib.compress(b"".join(parts), _LEVEL)

    @classmethod
    def from_bytes(cls, raw: bytes) -> State:
        """The state that a snapshot was made of. Raises SnapshotError."""
        try:
            plain = zlib.decompress(raw)
            end = 8 + int.from_bytes(plain[:8], "little")
            header = orjson.loads(plain[8:end])
        except (zlib.error, ValueError) as error:
            raise SnapshotError(f"a health snapshot is damaged: {error}") from error
        if header.get("format") != FORMAT or header.get("slot_s") != SLOT_S:
            raise SnapshotError(
                f"a health snapshot is of format {header.get('format')}, this program reads {FORMAT}: "
                "replay from the beginning, or from a snapshot that this version made"
            )
        try:
            return cls._restored(header, memoryview(plain)[end:])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SnapshotError(f"a health snapshot does not hold together: {error!r}") from error

    @classmethod
    def _restored(cls, header: dict[str, Any], columns: memoryview) -> State:
        state = cls(next_slot=header["next_slot"], refused=header["refused"])
        state.add([(pipeline, step) for pipeline, step in header["keys"]])
        arrays = dict(state._arrays())
        at = 0
        for name, kind, size in header["columns"]:
            if str(arrays[name].dtype) != kind or arrays[name].nbytes != size:
                raise ValueError(f"column {name} is {size} bytes of {kind}, expected {arrays[name].nbytes}")
            _fill(arrays[name], columns[at : at + size])
            at += size
        missing = arrays.keys() - {name for name, *_ in header["columns"]} - _ADDED
        if at != len(columns) or missing:
            raise ValueError(f"{len(columns)} bytes of columns, expected {at}")
        state.said_of = {
            pipeline: (status, spoke, slot) for pipeline, status, spoke, slot in header["said_of"]
        }
        state.losses = {pipeline: LossWindow(**window) for pipeline, window in header["losses"].items()}
        state.thresholds = {
            (pipeline, step): [
                ThresholdWindow(Threshold(**threshold), deque(tuple(part) for part in parts))
                for threshold, parts in windows
            ]
            for pipeline, step, windows in header["thresholds"]
        }
        return state

    def _arrays(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for group_name, group in self.groups():
            for columns_name, columns in group.columns():
                for name, array in columns.arrays():
                    yield f"{group_name}.{columns_name}.{name}", array


def _planes(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an array, the first of every value, then the second of every value: that compresses well."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(-1, flat.itemsize).T.tobytes() if flat.size else b""


def _fill(array: np.ndarray[Any, Any], planes: memoryview) -> None:
    """The reverse of `_planes`, into `array`."""
    if array.size:
        turned = np.frombuffer(planes, np.uint8).reshape(array.itemsize, -1).T
        array.reshape(-1)[:] = np.ascontiguousarray(turned).view(array.dtype).reshape(-1)
