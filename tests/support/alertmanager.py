"""A real Alertmanager: the one on PATH, else Debian's, unpacked into the user's cache without being installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steptrail.deploy.stack.ports import choose_ports
from support.debian import unpacked
from support.listener import Listener

_PACKAGE = "prometheus-alertmanager"
_INSTALLED, _UNPACKED = b"/usr/share/prometheus/alertmanager", b"usr/share/prometheus//alertmanager"


def find_alertmanager() -> Path:
    """Its program. Skips the test, and says why, where apt cannot have it."""
    for name in (_PACKAGE, "alertmanager"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    folder = unpacked(_PACKAGE)
    program = folder / _PACKAGE
    if not program.exists():
        # Debian's looks for its templates where it would be installed; ours looks below the folder it is run in.
        binary = (folder / "usr/bin" / _PACKAGE).read_bytes().replace(_INSTALLED, _UNPACKED)
        fresh = program.with_name(f"{_PACKAGE}.{os.getpid()}")
        fresh.write_bytes(binary)
        fresh.chmod(0o755)
        fresh.rename(program)
    return program


class Alertmanager:
    """A running one; `url` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def alerts(self) -> list[dict[str, Any]]:
        """What fires there now."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?active=true", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running_alertmanager(folder: Path, receiver: Listener) -> Iterator[Alertmanager]:
    """One that tells `receiver` of everything at once."""
    port = choose_ports({"alertmanager": 0})["alertmanager"]
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: '{receiver.url}', send_resolved: true}}]}}]\n",
        encoding="utf-8",
    )
    program = find_alertmanager()
    command = [str(program), f"--config.file={config}", f"--storage.path={folder / 'am'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen(command, cwd=program.parent, stderr=log, stdout=log)
    try:
        manager = Alertmanager(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 30
        while not manager.ready():
            assert process.poll() is None, (folder / "alertmanager.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield manager
    finally:
        process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
