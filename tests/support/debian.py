"""Programs that Debian packages, unpacked into the user's cache without being installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def unpacked(package: str) -> Path:
    """The folder with the package's files. Skips the test, and says why, where apt cannot have it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steptrail" / package
    if cache.exists():
        return cache
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"NOT TESTED: no {package} on PATH, and no apt to have it from")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as name:
        done = _run(["apt-get", "download", package], name)
        if done.returncode != 0 and os.geteuid() == 0:  # a bare machine has no lists yet
            _run(["apt-get", "update", "-q"], name)
            done = _run(["apt-get", "download", package], name)
        files = list(Path(name).glob("*.deb"))
        if not files:
            pytest.skip(f"NOT TESTED: apt cannot have {package}: {(done.stdout + done.stderr)[-500:]}")
        fresh = Path(name) / "unpacked"
        unpacking = _run(["dpkg-deb", "-x", str(files[0]), str(fresh)], name)
        assert unpacking.returncode == 0, unpacking.stderr
        try:
            fresh.rename(cache)
        except OSError:  # another process was first
            assert cache.exists()
    return cache


def program(name: str, package: str) -> Path:
    """A program on PATH, else the one in `package`."""
    found = shutil.which(name)
    return Path(found) if found is not None else unpacked(package) / "usr" / "bin" / name


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
