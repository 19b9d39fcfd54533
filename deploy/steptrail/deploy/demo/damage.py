"""Damaged copies of real documents, so that each kind of failure occurs on any machine; they are marked as made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from steptrail.deploy.demo.corpus import kind_of
from steptrail.deploy.demo.files import MAX_BYTES

#: Copies of each sort.
COPIES = 4


def make_damaged(originals: list[str], folder: Path, count: int) -> list[str]:
    """Write at most `count` damaged copies of some of `originals` into an emptied `folder`; return their paths.

    At most four of each sort, and first one of each: a file that is missing, texts in an encoding that is not
    UTF-8, Python and JSON cut in the middle, a file that is too large, compressed files cut short, archives
    and images with a flipped bit.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sorts = [
        [
            (name, harm, path)
            for path in _readable([each for each in originals if kind_of(each) == kind], COPIES)
        ]
        for kind, name, harm in _HARMS
    ]
    made = [str(folder / "missing.txt")]
    for name, harm, path in (copy for turn in zip_longest(*sorts) for copy in turn if copy is not None):
        if len(made) >= count:
            break
        target = folder / f"{name}-{os.path.basename(path)}"
        target.write_bytes(harm(Path(path).read_bytes()))
        made.append(str(target))
    return list(dict.fromkeys(made))[:count]


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
    ("text", "old-encoding", _old_encoding),
    ("python", "unfinished", _unbalanced),
    ("text", "enlarged", _enlarged),
    ("json", "cut", _cut),
    ("gzip", "cut", _cut),
    ("archive", "flipped", _flip),
    ("image", "flipped", _flip),
)
