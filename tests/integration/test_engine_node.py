"""The official Node client against the engine server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer, engine

__all__ = ["engine"]
HERE = Path(__file__).with_name("node")


@ONLY_IN_TEST_ALL
def test_node_client(engine: EngineServer, tmp_path: Path) -> None:
    """Everything a program does with @clickhouse/client works: queries, inserts, streams, errors, sessions, abort."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("this machine has no node: the Node client was not tested")
    npm = shutil.which("npm")
    assert npm, "node is here but npm is not: install npm, which fetches the client that this test runs"
    for name in ("package.json", "package-lock.json", "check.js"):
        shutil.copy(HERE / name, tmp_path)
    subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=180,
    )
    environ = {
        **os.environ,
        "ENGINE_URL": f"http://127.0.0.1:{engine.port}",
        "ENGINE_PASSWORD": engine.password,
    }
    done = subprocess.run(
        [node, "check.js"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 12
