"""The state of every rule for every step: bounded, and bit-exact after a snapshot."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import orjson

from steptrail.consumers.health.rules.columns import Columns, Grouped, Ints, column
from steptrail.consumers.health.rules.registry import pipeline_rules, step_rules
from steptrail.consumers.health.rules.rule import HealthRule, PipelineRule, StepRule
from steptrail.consumers.health.rules.slots import SLOT_S, StepKey
from steptrail.schemas.errors import DataError

FORMAT = 1
_LEVEL = 1  # zlib: most columns are zeros, higher levels gain little
_STORED_AS = {"stalled": "standing"}
"""Where a snapshot's columns of a rule do not stand under the rule's name: they did not always."""
_LEVELS_BEFORE = ("errors", "durations", "silence", "stalled", "thresholds")
"""The rules in `Published.levels` of a snapshot that does not say."""

R = TypeVar("R", bound="HealthRule[Any]")


class SnapshotError(DataError):
    """A snapshot is of another version, or damaged. Use an older one, or replay from the start."""


@dataclass
class Published(Columns):
    """Each step's latest verdict: every rule's level in two bits, and the slot at whose start the status began."""

    levels: Ints = column(np.int64)
    status: Ints = column(np.int64)
    since: Ints = column(np.int64)


@dataclass
class Standing(Grouped):
    """State of steps besides the rules'."""

    said: Published


@dataclass
class State:
    """State of every step (row i belongs to `keys[i]`), and of the pipelines.

    `published_of` holds the latest verdict of each pipeline, and the overall one under None: (status, rules and
    statuses of its findings, since slot).
    """

    keys: list[StepKey] = field(default_factory=list)
    steps: dict[str, StepRule[Any]] = field(
        default_factory=lambda: {name: rule.of(0) for name, rule in step_rules().items()}
    )
    pipelines: dict[str, PipelineRule[Any]] = field(
        default_factory=lambda: {name: rule() for name, rule in pipeline_rules().items()}
    )
    standing: Standing = field(default_factory=lambda: Standing.of(0))
    published_of: dict[str | None, tuple[str, str, int]] = field(default_factory=dict)
    refused: int = 0
    next_slot: int | None = None

    def __post_init__(self) -> None:
        self.index = {key: row for row, key in enumerate(self.keys)}

    def rule(self, kind: type[R]) -> R:
        """The state of one rule, by class."""
        name = kind.policy.rule
        return cast("R", self.steps[name] if name in self.steps else self.pipelines[name])

    @property
    def published(self) -> Published:
        """Each step's latest verdict."""
        return self.standing.said

    def groups(self) -> Iterator[tuple[str, Grouped]]:
        """All groups with one row per step, by name."""
        yield from self.steps.items()
        yield "standing", self.standing

    def add(self, keys: list[StepKey]) -> None:
        """Add these steps, which must be new."""
        if not keys:
            return
        for key in keys:
            self.index[key] = len(self.keys)
            self.keys.append(key)
        for _, group in self.groups():
            group.extend(len(keys))

    def forget(self, rows: Ints) -> list[StepKey]:
        """Remove these rows; returns their steps."""
        gone = [self.keys[row] for row in rows]
        kept = np.setdiff1d(np.arange(len(self.keys)), rows)
        self.keys = [self.keys[row] for row in kept]
        self.index = {key: row for row, key in enumerate(self.keys)}
        for _, group in self.groups():
            group.keep(kept)
        return gone

    def nbytes(self) -> int:
        """Bytes of all columns in memory."""
        return sum(array.nbytes for _, array in self._arrays())

    def to_bytes(self) -> bytes:
        """A snapshot: a JSON header and the columns, compressed together."""
        rules: dict[str, HealthRule[Any]] = {**self.steps, **self.pipelines}
        stored = {name: rule.stored(self.keys) for name, rule in rules.items()}
        header = {
            "format": FORMAT,
            "slot_s": SLOT_S,
            "next_slot": self.next_slot,
            "refused": self.refused,
            "keys": self.keys,
            "said_of": [[pipeline, *published] for pipeline, published in self.published_of.items()],
            **{name: each for name, each in stored.items() if each is not None},
            "levels": list(self.steps),
            "columns": [[name, str(array.dtype), array.nbytes] for name, array in self._arrays()],
        }
        head = orjson.dumps(header)
        parts = [len(head).to_bytes(8, "little"), head, *(_planes(array) for _, array in self._arrays())]
        return zlib.compress(b"".join(parts), _LEVEL)

    @classmethod
    def from_bytes(cls, raw: bytes) -> State:
        """Restore the state from a snapshot. Raises SnapshotError."""
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
        groups = {name.partition(".")[0] for name in arrays}
        at = 0
        for name, kind, size in header["columns"]:
            if name in arrays:
                _fill(arrays.pop(name), name, kind, columns[at : at + size])
            elif name.partition(".")[0] in groups:
                raise ValueError(f"there is no column {name}")
            at += size  # skip rules that this program does not have
        stored = {name.partition(".")[0] for name, *_ in header["columns"]}
        missing = [name for name in arrays if name.partition(".")[0] in stored and name not in state._added()]
        if at != len(columns) or missing:
            raise ValueError(f"{len(columns)} bytes of columns, expected {at}; missing: {', '.join(missing)}")
        state.published_of = {
            pipeline: (status, findings, slot) for pipeline, status, findings, slot in header["said_of"]
        }
        for name, rule in (*state.steps.items(), *state.pipelines.items()):
            if header.get(name) is not None:
                rule.restore(header[name], state.index)
        state.published.levels = _reordered(
            state.published.levels, header.get("levels", _LEVELS_BEFORE), list(state.steps)
        )
        return state

    def _arrays(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        for prefix, columns in self._columns():
            for name, array in columns.arrays():
                yield f"{prefix}.{name}", array

    def _added(self) -> set[str]:
        """The columns that a snapshot may lack although it has their rule."""
        return {f"{prefix}.{name}" for prefix, columns in self._columns() for name in columns.added()}

    def _columns(self) -> Iterator[tuple[str, Columns]]:
        for group_name, group in self.groups():
            for name, columns in group.columns():
                yield f"{_STORED_AS.get(group_name, group_name)}.{name}", columns


def _reordered(levels: Ints, stored: Sequence[str], now: Sequence[str]) -> Ints:
    """`Published.levels` with each rule's bits at their current position; a new rule has level 0."""
    moved = np.zeros_like(levels)
    for place, name in enumerate(now):
        if name in stored:
            moved |= (levels >> (2 * stored.index(name)) & 3) << (2 * place)
    return moved


def _planes(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an array, first byte of every value, then the second, and so on: that compresses well."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).reshape(-1, flat.itemsize).T.tobytes() if flat.size else b""


def _fill(array: np.ndarray[Any, Any], name: str, kind: str, planes: memoryview) -> None:
    """The reverse of `_planes`, into `array`."""
    if str(array.dtype) != kind or array.nbytes != len(planes):
        raise ValueError(
            f"column {name} is {len(planes)} bytes of {kind}, expected {array.nbytes} of {array.dtype}"
        )
    if array.size:
        turned = np.frombuffer(planes, np.uint8).reshape(array.itemsize, -1).T
        array.reshape(-1)[:] = np.ascontiguousarray(turned).view(array.dtype).reshape(-1)
