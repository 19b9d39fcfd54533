"""How far a transfer is: rows, bytes, rate and share, on one line of a terminal that is written anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from steptrail.deploy.terminal.guard import unguarded
from steptrail.deploy.terminal.numbers import counted

_EVERY_S = 0.25


class Transfer:
    """Counts what passes. `rows` is exact for JSON lines and CSV, None for Parquet."""

    def __init__(self, form: str, expected: int | None, *, shown: bool) -> None:
        """`expected`: about how many rows will come, if known; `shown`: keep a line on standard error current."""
        self.bytes = 0
        self.rows: int | None = None if form == "parquet" else 0
        self._is_csv = form == "csv"
        self._named = self._quoted = False
        self._expected, self._shown = expected, shown
        self._began = self._drawn = time.monotonic()

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, counted as they are taken."""
        try:
            for piece in pieces:
                yield piece
                self.bytes += len(piece)
                if self.rows is not None:
                    self.rows += self._ends_of_rows(piece)
                self._draw()
        finally:
            if self._shown:
                unguarded(sys.stderr).write("\r\x1b[K")
                sys.stderr.flush()

    def _ends_of_rows(self, piece: bytes) -> int:
        """Line ends; in CSV those outside of quotes, without the line of names."""
        if not self._is_csv:
            return piece.count(b"\n")
        ends = 0
        for number, part in enumerate(piece.split(b'"')):
            self._quoted ^= number > 0
            ends += 0 if self._quoted else part.count(b"\n")
        if ends and not self._named:
            self._named, ends = True, ends - 1
        return ends

    def _draw(self) -> None:
        now = time.monotonic()
        if not self._shown or now - self._drawn < _EVERY_S:
            return
        self._drawn = now
        unguarded(sys.stderr).write(f"\r{self.line(now - self._began)}\x1b[K")
        sys.stderr.flush()

    def line(self, seconds: float) -> str:
        """Such as `1,204,000 rows, 310.2 MB, 98,000 rows a second, 62 %`."""
        seconds = max(seconds, 0.001)
        parts = [f"{self.bytes / 1e6:,.1f} MB"]
        if self.rows is None:
            parts.append(f"{self.bytes / 1e6 / seconds:,.1f} MB a second")
            if self._expected is not None:
                parts.append(f"of about {counted(self._expected, 'row')}")
            return ", ".join(parts)
        parts = [counted(self.rows, "row"), *parts, f"{self.rows / seconds:,.0f} rows a second"]
        if self._expected:
            parts.append(f"{min(100, 100 * self.rows // self._expected)} %")
        return ", ".join(parts)
