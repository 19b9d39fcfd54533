"""Time on a line, with long stretches in which nothing happens cut short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Span = tuple[float, float]
"""From and until, in seconds of whatever clock; until is not before from."""

_CUT_SHARE = 0.15  # a pause longer than this share of everything is cut,
_CUT_LEAST_S = 5.0  # unless it is short anyhow
_CUT_WIDTH = 0.04  # of the whole width: what stands for a pause that was cut


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the line: from and until in seconds, its place and width (0 to 1), and whether it is a cut pause."""

    start: float
    end: float
    place: float
    width: float
    is_cut: bool

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Timescale:
    """Where on a line from 0 to 1 each moment stands; stretches follow one another without holes."""

    stretches: tuple[Stretch, ...]

    @property
    def cuts(self) -> list[Stretch]:
        """The pauses that are cut."""
        return [stretch for stretch in self.stretches if stretch.is_cut]

    def at(self, moment: float) -> float:
        """The place of a moment; moments outside stand at the ends."""
        for part in self.stretches:
            if moment <= part.end:
                share = (moment - part.start) / part.seconds if part.seconds else 0.0
                return part.place + part.width * min(max(share, 0.0), 1.0)
        return 1.0

    @property
    def ticks(self) -> list[float]:
        """The moments worth a label: the beginning, each time after a cut pause, and the end."""
        found = [self.stretches[0].start]
        found += [cut.end for cut in self.cuts]
        return [*found, self.stretches[-1].end]


def timescale(spans: Iterable[Span]) -> Timescale:
    """A line on which every span has its place. Pauses of more than 15 % of the whole are cut to 4 % of the width."""
    busy: list[list[float]] = []
    for start, end in sorted(spans):
        if busy and start <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], end)
        else:
            busy.append([start, end])
    if not busy:
        return Timescale((Stretch(0.0, 1.0, 0.0, 1.0, is_cut=False),))
    longest = max(_CUT_SHARE * (busy[-1][1] - busy[0][0]), _CUT_LEAST_S)
    parts: list[tuple[float, float, bool]] = []
    for start, end in busy:
        if parts:
            parts.append((parts[-1][1], start, start - parts[-1][1] > longest))
        parts.append((start, end, False))
    cuts = sum(is_cut for _, _, is_cut in parts)
    shown = sum(end - start for start, end, is_cut in parts if not is_cut)
    room = 1.0 - _CUT_WIDTH * cuts
    stretches, place = [], 0.0
    for start, end, is_cut in parts:
        share = (end - start) / shown if shown else 1 / (len(parts) - cuts)
        width = _CUT_WIDTH if is_cut else room * share
        stretches.append(Stretch(start, end, place, width, is_cut))
        place += width
    return Timescale(tuple(stretches))
