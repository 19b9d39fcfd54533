"""The official Go client, over HTTP, against the engine server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.clients import built, run, tool
from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer, engine

__all__ = ["engine"]
HERE = Path(__file__).with_name("go")


@ONLY_IN_TEST_ALL
@pytest.mark.timeout(1200)  # a bare machine downloads the client and its modules
def test_go_client(engine: EngineServer) -> None:
    """Everything a program does with clickhouse-go works, plain and with each compression: LZ4, ZSTD, gzip."""
    go = tool("go", "THE GO CLIENT")
    program = built(HERE, ("go.mod", "go.sum", "main.go"), [go, "build", "-o", "check", "."], "check")
    assert len(json.loads(run([str(program)], engine))) == 4 * 10 + 1
