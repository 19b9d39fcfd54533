"""The work of the demonstration's pipeline on files, as plain functions: what a file is and what it holds.

They know nothing of steptrail. They raise for what they cannot do: `Unsuitable` when a document is left
out on purpose, `Damaged` or Python's own exception when it is broken.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

#: Larger files are left out, and so is what unpacks to more than four times as much.
MAX_BYTES = 512 * 1024
MAX_UNPACKED = 4 * MAX_BYTES

#: More members than this are not opened.
MAX_MEMBERS = 200


class Unsuitable(Exception):
    """The document is fine, but not for this pipeline; the message is the reason."""


class Damaged(Exception):
    """The document's bytes are not what its format demands."""


def read(path: str) -> bytes:
    """The file's bytes. Raises Unsuitable for what is too large or no regular file, OSError for the rest."""
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode):
        raise Unsuitable("not a regular file")
    if about.st_size > MAX_BYTES:
        raise Unsuitable(f"too large: {about.st_size:,} bytes, the limit is {MAX_BYTES:,}")
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x7fELF", "binary"),
    (b"\xca\xfe\xba\xbe", "binary"),
    (b"%PDF", "binary"),
    (b"TZif", "binary"),
)

_NAMES: dict[str, str] = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".zip": "zip",
    ".whl": "zip",
    ".jar": "zip",
    ".egg": "zip",
    ".tar": "tar",
    ".png": "png",
    ".gif": "gif",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".py": "python",
    ".json": "json",
    ".xml": "xml",
    ".svg": "xml",
    ".html": "html",
    ".htm": "html",
    ".csv": "csv",
    ".ini": "config",
    ".cfg": "config",
    **{f".{section}": "manual" for section in range(1, 10)},
}

COMPRESSED = frozenset({"gzip", "bzip2", "xz"})
ARCHIVES = frozenset({"zip", "tar"})
IMAGES = frozenset({"png", "gif", "jpeg"})


def detect(name: str, data: bytes) -> tuple[str, str]:
    """The kind of the document by content and the kind that its name promises (`""` for no promise)."""
    promised = _NAMES.get(os.path.splitext(name.lower())[1], "")
    if not data:
        return "empty", promised
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind, promised
    if data[257:262] == b"ustar":
        return "tar", promised
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary", promised
    # Without a signature: text, and the name says which.
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "html", promised
    if start.startswith(b"<?xml"):
        return "xml", promised
    texts = {"python", "json", "xml", "html", "csv", "config", "manual"}
    return (promised if promised in texts else "text"), promised


def decompress(kind: str, data: bytes) -> bytes:
    """What gzip, bzip2 or xz holds. Raises Damaged, or Unsuitable when it is too much."""
    opened: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    try:
        with opened[kind](io.BytesIO(data)) as stream:
            unpacked: bytes = stream.read(MAX_UNPACKED + 1)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise Damaged(f"{kind}: {error}") from error
    if len(unpacked) > MAX_UNPACKED:
        raise Unsuitable(f"unpacks to more than {MAX_UNPACKED:,} bytes")
    return unpacked


def unpack(kind: str, data: bytes) -> list[tuple[str, bytes]]:
    """Names and bytes of an archive's members, checksums verified. Raises Damaged or Unsuitable."""
    try:
        return _unzip(data) if kind == "zip" else _untar(data)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error, OSError) as error:
        raise Damaged(f"{kind}: {error}") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unknown compression
        raise Unsuitable(f"{kind}: {error}") from error


def _unzip(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _refuse_too_much(len(members), sum(member.file_size for member in members))
        return [(member.filename, archive.read(member)) for member in members]


def _untar(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        members = [member for member in archive if member.isfile()]
        _refuse_too_much(len(members), sum(member.size for member in members))
        return [(member.name, file.read()) for member in members if (file := archive.extractfile(member))]


def _refuse_too_much(members: int, size: int) -> None:
    if members > MAX_MEMBERS:
        raise Unsuitable(f"too many members: {members:,}, the limit is {MAX_MEMBERS}")
    if size > MAX_UNPACKED:
        raise Unsuitable(f"unpacks to {size:,} bytes, the limit is {MAX_UNPACKED:,}")
