"""The rows of an INSERT, kept until they are all here: in memory, past a limit in a file without a name.

The engine reads them with INSERT … FROM INFILE. Its streaming insert would need no keeping, but says nothing when
rows cannot be written (a full disk, a broken constraint, too many partitions: it reports success and stores none).
And so nothing of a body that is cut off, or does not decode, is ever stored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from steptrail.deploy.engine.errors import EngineError

_IN_MEMORY = 64 << 20
_BY_HAND = 1 << 20


class Upload:
    """Bytes that the engine can open as a file; `close` lets go of them."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._size = 0
        self._on_disk = False
        self._file = FileIO(os.memfd_create("insert"), "r+")

    @property
    def path(self) -> str:
        """Where the engine, in this process, finds the bytes."""
        return f"/proc/self/fd/{self._file.fileno()}"

    def add(self, data: bytes) -> None:
        """Append; raises EngineError 243 when the disk is full."""
        try:
            if not self._on_disk and self._size + len(data) > _IN_MEMORY:
                self._move_to_disk()
            self._size += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise EngineError(243, f"The rows cannot be kept until their end: {error.strerror}") from error

    def holds(self, suspect: Callable[[bytes], bool]) -> bool:
        """Tell whether `suspect` says so of the bytes; of more than a statement by hand has, it is not asked."""
        return self._size > _BY_HAND or suspect(os.pread(self._file.fileno(), self._size, 0))

    @property
    def on_disk(self) -> bool:
        """Whether `add` may have to wait for a disk."""
        return self._on_disk

    def close(self) -> None:
        """Free the memory or the disk space."""
        self._file.close()

    def _move_to_disk(self) -> None:
        memory = self._file
        try:
            self._on_disk = True
            # It never has a name: nothing is left behind, also not by kill -9.
            self._file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 - see close
            offset = 0
            while offset < self._size:
                offset += os.sendfile(self._file.fileno(), memory.fileno(), offset, self._size - offset)
        finally:
            if self._file is not memory:
                memory.close()
