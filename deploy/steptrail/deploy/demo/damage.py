"""Damaged copies of real documents, so that each kind of failure is there on any machine, and said to be made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from steptrail.deploy.demo.corpus import kind_of
from steptrail.deploy.demo.files import MAX_BYTES

#: Copies of each sort.
COPIES = 4


def make_damaged(originals: list[str], folder: Path) -> list[str]:
    """Write damaged copies of some of `originals` into an emptied `folder`; return their paths.

    Four of each: compressed files cut short, archives and images with a flipped byte, Python and JSON cut in
    the middle, texts in an encoding that is not UTF-8, files that are too large, and one that is missing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made: list[str] = []
    for kind, name, harm in _HARMS:
        wanted = [path for path in originals if kind_of(path) == kind]
        for path in _readable(wanted, COPIES):
            copy = folder / f"{name}-{os.path.basename(path)}"
            copy.write_bytes(harm(Path(path).read_bytes()))
            made.append(str(copy))
    made.append(str(folder / "missing.txt"))
    return sorted(dict.fromkeys(made))


def _readable(paths: list[str], count: int) -> list[str]:
    """The first `count` files that can be read and are neither tiny nor large."""
    found: list[str] = []
    for path in paths:
        if len(found) == count:
            break
        if os.access(path, os.R_OK) and os.path.isfile(path) and 600 < os.path.getsize(path) < MAX_BYTES // 2:
            found.append(path)
    return found


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def _flip(data: bytes) -> bytes:
    """One bit changed in the first quarter, where an archive and an image keep data."""
    position = len(data) // 4
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def _unbalanced(data: bytes) -> bytes:
    return data[: len(data) // 2] + b"\ndef unfinished(:\n"


def _old_encoding(data: bytes) -> bytes:
    return "Überschrift — naïve café\n".encode("cp1252") + data.decode("utf-8", "replace").encode(
        "latin-1", "replace"
    )


def _enlarged(data: bytes) -> bytes:
    return data * (MAX_BYTES // len(data) + 1)


_HARMS: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    ("gzip", "cut", _cut),
    ("archive", "flipped", _flip),
    ("image", "flipped", _flip),
    ("python", "unfinished", _unbalanced),
    ("json", "cut", _cut),
    ("text", "old-encoding", _old_encoding),
    ("text", "enlarged", _enlarged),
)
