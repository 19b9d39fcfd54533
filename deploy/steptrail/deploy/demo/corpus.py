"""Choose documents on this machine: a few thousand real files, as different as they come, the same each time."""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

#: At most so many files are looked at below one root: enough for variety, quick on a large disk.
FILES_PER_ROOT = 25_000

#: Kind of file -> its share of the corpus. Kinds that a machine lacks leave their share to the others.
SHARES: dict[str, int] = {
    "hard": 3,
    "python": 24,
    "text": 14,
    "gzip": 14,
    "html": 8,
    "json": 6,
    "xml": 6,
    "csv": 2,
    "archive": 8,
    "image": 10,
    "config": 4,
    "other": 4,
}

#: Files made to be hard to read: test data of Python's own library and of the packages around it.
_HARD = re.compile(
    r"/bad[_-]?(syntax|coding|token|cert|key|data)|/lib2to3/tests/data/|/(archivetestdata|tokenizedata)/"
    r"|/encoded_modules/|[/_.-](invalid|corrupt|broken|malformed|truncated)[/_.-]",
    re.IGNORECASE,
)

_KINDS: dict[str, str] = {
    ".py": "python",
    ".pyw": "python",
    ".txt": "text",
    ".rst": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".json": "json",
    ".xml": "xml",
    ".svg": "xml",
    ".xsd": "xml",
    ".csv": "csv",
    ".tsv": "csv",
    ".gz": "gzip",
    ".bz2": "gzip",
    ".xz": "gzip",
    ".zip": "archive",
    ".whl": "archive",
    ".jar": "archive",
    ".tar": "archive",
    ".tgz": "archive",
    ".egg": "archive",
    ".png": "image",
    ".gif": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".cfg": "config",
    ".ini": "config",
    ".toml": "config",
    ".conf": "config",
}

#: Not documents: caches, and what the dynamic linker and the interpreter read.
_LEFT_OUT = {".pyc", ".pyi", ".so", ".a", ".o", ".typed", ".mo"}


def roots() -> list[Path]:
    """Folders with documents on a usual machine, those that are there, each once."""
    candidates = [
        Path(sysconfig.get_path("stdlib")),
        Path(sysconfig.get_path("stdlib"), "site-packages"),
        Path(sysconfig.get_path("purelib")),
        *map(Path, site.getsitepackages()),
        Path(sys.base_prefix, "share"),
        Path("/usr/lib/python3"),
        Path("/usr/share/doc"),
        Path("/usr/share/man"),
        Path("/usr/share"),
    ]
    found = dict.fromkeys(Path(os.path.realpath(path)) for path in candidates if path.is_dir())
    return list(found)


def kind_of(path: str) -> str:
    """The kind of document that the name promises; the pipeline looks for itself what is inside."""
    if _HARD.search(path):
        return "hard"
    name = os.path.basename(path).lower()
    extension = os.path.splitext(name)[1]
    return _KINDS.get(extension, "text" if "." not in name else "other")


def choose(count: int, folders: Iterable[Path] | None = None) -> list[str]:
    """Absolute paths of at most `count` documents, by the shares of `SHARES`, in a fixed shuffled order.

    Files are ordered by a checksum of their path, so the same machine gives the same documents, and their
    neighbours in the order have nothing to do with each other.
    """
    by_kind: dict[str, list[str]] = defaultdict(list)
    looked_at = [str(folder) for folder in (roots() if folders is None else folders)]
    for folder in looked_at:
        for path in islice(_files(folder, apart=set(looked_at)), FILES_PER_ROOT):
            by_kind[kind_of(path)].append(path)
    for paths in by_kind.values():
        paths.sort(key=_scatter)
    chosen = _by_share(by_kind, count)
    chosen.sort(key=_scatter)
    return chosen


def _files(folder: str, apart: set[str]) -> Iterator[str]:
    """Files below `folder` in a fixed order, without following links and without the folders in `apart`."""
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name != "__pycache__" and os.path.join(directory, name) not in apart
        )
        for name in sorted(names):
            path = os.path.join(directory, name)
            # Paths are document ids, and those are text: leave out names that are not UTF-8.
            if os.path.splitext(name)[1] not in _LEFT_OUT and _is_text(path):
                yield path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.isprintable()


def _scatter(path: str) -> tuple[int, str]:
    return zlib.crc32(path.encode()), path


def _by_share(by_kind: dict[str, list[str]], count: int) -> list[str]:
    """The first of each kind up to its share, then whatever is left over until `count` is reached."""
    total = sum(SHARES.values())
    chosen: list[str] = []
    rest: list[str] = []
    for kind, share in SHARES.items():
        quota = max(1, count * share // total)
        chosen += by_kind[kind][:quota]
        rest += by_kind[kind][quota:]
    rest.sort(key=_scatter)
    return (chosen + rest)[:count]
