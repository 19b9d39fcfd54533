"""Programs in other languages (clients of ClickHouse, Helm): built once a machine, in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.engine import EngineServer


def tool(name: str, what: str) -> str:
    """The program's path. Skips the test, and says loudly what is not tested, where this machine has none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{what} IS NOT TESTED: this machine has no {name}")
    return found


def built(sources: Path, names: Sequence[str], command: Sequence[str], output: str) -> Path:
    """What `command` makes as `output` of these files; kept in the cache under a hash of them."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (sources / name).read_bytes() + b"\0")
    digest.update("\0".join(command).encode())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steptrail" / "clients"
    folder = base / f"{sources.name}-{digest.hexdigest()[:16]}"
    base.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one builds, the others wait
        if not (folder / output).exists():
            draft = folder.with_name(f"{folder.name}.{os.getpid()}")
            draft.mkdir()
            for name in names:
                shutil.copy(sources / name, draft)
            done = subprocess.run(
                command, cwd=draft, capture_output=True, text=True, timeout=900, check=False
            )
            assert done.returncode == 0, (
                f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
            assert (draft / output).exists(), f"{' '.join(command)} made no {output}"
            draft.rename(folder)
    return folder / output


def run(command: Sequence[str], engine: EngineServer, more: Mapping[str, str] | None = None) -> str:
    """What a program says that is told of the engine by its environment; it must end well."""
    environ = {
        **os.environ,
        "ENGINE_ADDRESS": f"127.0.0.1:{engine.port}",
        "ENGINE_URL": f"http://127.0.0.1:{engine.port}",
        "ENGINE_PASSWORD": engine.password,
        "READER_PASSWORD": engine.reader_password,
        **(more or {}),
    }
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
