"""Where the shell's answers go: the terminal, the pager, or a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from steptrail.deploy.cli.sql import formats
from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.cli.sql.statements import has_rows, own_format
from steptrail.deploy.cli.sql.store import Store
from steptrail.deploy.terminal.failures import CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.output import note
from steptrail.deploy.terminal.pager import is_long, page
from steptrail.deploy.terminal.visible import visible


@dataclass
class Answers:
    """Runs statements and shows what comes: at most `limit` rows (0: all), or all of them in `file`, for one answer.

    `raw`: CSV without a mark before what reads as a formula.
    """

    store: Store
    form: Format = Format.TABLE
    limit: int = 1000
    raw: bool = False
    paging: bool = True
    file: Path | None = None

    def give(self, statement: str) -> None:
        """Answer one statement, and say how long it took and how many rows the server read."""
        began = perf_counter()
        if own_format(statement) is not None or (self.form is Format.PARQUET and has_rows(statement)):
            self._give_raw(statement)
            note(f"{_since(began)}.")
            return
        limit = 0 if self.file is not None else self.limit
        answer = self.store.ask(statement, limit=limit, whole=True)
        took = _since(began)
        if formats.is_done(answer.names, statement):
            note(f"Done, {took}.")
            return
        cut = bool(limit) and len(answer.rows) > limit
        rows = answer.rows[:limit] if cut else answer.rows
        if self.file is None:
            self.show(answer.names, rows)
        else:
            with (
                self._opened() as descriptor,
                open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file,
                contextlib.redirect_stdout(file),
            ):
                formats.write(self.form, answer.names, rows, raw=self.raw)
        count = f"The first {counted(limit, 'row')} of more" if cut else counted(len(rows), "row")
        note(f"{count}, {took}, {counted(answer.read_rows, 'row')} read.")

    def show(self, names: Sequence[str], rows: Sequence[formats.Row]) -> None:
        """An answer on the terminal, a long one in the pager."""
        text = formats.as_text(self.form, names, rows, raw=self.raw) if self.paging else ""
        if not (is_long(text) and page(text)):
            formats.write(self.form, names, rows, raw=self.raw)

    def _give_raw(self, statement: str) -> None:
        """What ClickHouse writes in the format that the statement names, or in Parquet."""
        own = own_format(statement)
        if self.file is None and own is None:
            raise CommandError(
                "Parquet is not for a terminal.", hint="\\o FILE names a file for the next answer."
            )
        pieces = self.store.raw(statement, None if own else "Parquet")
        if self.file is None:
            text = visible(b"".join(pieces).decode("utf-8", "backslashreplace"), keep="\n\t")
            if not (self.paging and is_long(text) and page(text)):
                sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
            return
        with self._opened() as descriptor, open(descriptor, "wb") as file:
            file.writelines(pieces)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The descriptor of the file for this answer; where writing fails the file is gone again."""
        path, self.file = self.file, None
        if path is None:
            raise RuntimeError("no file is chosen")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise CommandError(
                f"{path}: {error.strerror}.", hint="\\o takes the name of a new file."
            ) from error
        try:
            yield descriptor
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise CommandError(f"{path}: {error.strerror}.") from error
            raise
        note(f"Written to {path}")


def _since(began: float) -> str:
    seconds = perf_counter() - began
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"
