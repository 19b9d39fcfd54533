"""The engine server by itself, on a folder that is kept."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.stack import clean_environment


@contextmanager
def running_engine(directory: Path) -> Iterator[str]:
    """Start an engine on `directory/engine`; gives its URL with the credentials, without a database."""
    directory.mkdir(parents=True, exist_ok=True)
    password_file = directory / "password"
    if not password_file.exists():
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (directory / "engine.log").open("ab")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "steptrail.deploy.engine"),
            *("--path", str(directory / "engine"), "--host", "127.0.0.1", "--port", str(port)),
            *("--password-file", str(password_file)),
        ],
        stdout=log,
        stderr=log,
        env=clean_environment(),
    )
    try:
        _wait(process, port, directory / "engine.log")
        yield f"http://default:{password_file.read_text().strip()}@127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, patience_s: float = 120) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the engine ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the engine did not answer on port {port} within {patience_s:.0f} s, see {log}")
