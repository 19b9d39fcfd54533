"""Kafka's class path: exactly the jars of ``jars.lock``, fetched once into the user's cache.

The lock file names every jar by its Maven coordinate and its SHA-256. Nothing is resolved when a stack
starts: what is missing is downloaded (by ``jgo``, a Maven client in pure Python), checked, and only then
moved into the cache, so that an interrupted download leaves nothing behind that could be used. What is in
the cache is checked again before each start. ``python -m steptrail.deploy.stack.lock_jars`` rewrites the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from steptrail.deploy.private_files import open_private
from steptrail.schemas.errors import SteptrailError

KAFKA_VERSION = "4.4.0"
"""The broker's release; a change of it means a new lock."""

ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
"""What the lock is resolved from: the broker, and a binding without which slf4j would drop its logs."""

MAVEN_REPOSITORY_VARIABLE = "STEPTRAIL_MAVEN_REPOSITORY"
"""Names a mirror of Maven Central to download from; the lock's hashes hold for it all the same."""


class JarMismatchError(SteptrailError):
    """A jar is not the one that the lock file names: it was not used."""


class JarDownloadError(SteptrailError):
    """A jar of the lock file could not be downloaded."""


@dataclass(frozen=True)
class LockedJar:
    """One line of the lock file."""

    sha256: str
    coordinate: str

    @property
    def filename(self) -> str:
        """Its name in the cache, ``artifact-version.jar``."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/steptrail``, else ``~/.cache/steptrail``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "steptrail"


def parse_lock(text: str) -> tuple[LockedJar, ...]:
    """Read ``sha256  group:artifact:version`` lines; ``#`` starts a comment.

    Raises ValueError for a line of another shape.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        sha256, _, coordinate = line.partition("  ")
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef") or coordinate.count(":") != 2:
            raise ValueError(f"line {number} of the lock is not 'sha256  group:artifact:version': {line!r}")
        jars.append(LockedJar(sha256, coordinate))
    return tuple(jars)


def locked_jars() -> tuple[LockedJar, ...]:
    """The lock file that ships with steptrail."""
    return parse_lock(resources.files("steptrail.deploy").joinpath("jars.lock").read_text(encoding="utf-8"))


def ensure_jars(
    jars: Sequence[LockedJar] | None = None,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Return the verified jars in the lock's order, after downloading those that the cache lacks.

    Safe in several processes at once. Raises JarMismatchError when a cached or downloaded jar has another
    hash than the lock's, and JarDownloadError when one cannot be had.
    """
    jars = locked_jars() if jars is None else jars
    folder = (cache or cache_dir()) / f"kafka-{KAFKA_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(not (folder / jar.filename).exists() for jar in jars):
        with _exclusive(folder / ".lock"):
            missing = [jar for jar in jars if not (folder / jar.filename).exists()]
            if missing:
                say(f"downloading {len(missing)} jars of Kafka {KAFKA_VERSION} into {folder} (once)")
                _download(missing, folder)
    paths = [folder / jar.filename for jar in jars]
    with ThreadPoolExecutor(2) as pool:
        for jar, path, found in zip(jars, paths, pool.map(sha256_of, paths), strict=True):
            if found != jar.sha256:
                raise JarMismatchError(
                    f"{path} is not the jar that steptrail was released with: its SHA-256 is {found}, "
                    f"the lock says {jar.sha256}. Nothing was started. Delete the file to download it again."
                )
    return paths


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _download(jars: Sequence[LockedJar], folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    try:
        with ThreadPoolExecutor(6) as pool:
            fetched = list(pool.map(lambda jar: _fetch(jar, scratch), jars))
        for jar, path in zip(jars, fetched, strict=True):
            found = sha256_of(path)
            if found != jar.sha256:
                raise JarMismatchError(
                    f"the download of {jar.coordinate} has SHA-256 {found}, the lock says {jar.sha256}: "
                    "it was thrown away. Something between here and the Maven repository changes files."
                )
        for jar, path in zip(jars, fetched, strict=True):
            path.replace(folder / jar.filename)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch(jar: LockedJar, scratch: Path) -> Path:
    import requests
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    # A context of its own for each jar: nothing says that one may be shared between threads.
    url = os.environ.get(MAVEN_REPOSITORY_VARIABLE, "").rstrip("/") or MAVEN_CENTRAL_URL
    context = MavenContext(repo_cache=scratch, remote_repos={"maven": url}, timeout=60)
    group, artifact, version = jar.coordinate.split(":")
    try:
        return Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (RuntimeError, OSError, requests.RequestException) as fault:
        raise JarDownloadError(
            f"{jar.coordinate} could not be downloaded ({type(fault).__name__}: {fault}). The local stack needs "
            f"Kafka's jars once; set {MAVEN_REPOSITORY_VARIABLE} if Maven Central is reached through a mirror."
        ) from fault


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with os.fdopen(open_private(path, os.O_WRONLY), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
