"""The official JDBC driver against the engine server."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import built, run, tool
from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer, engine

__all__ = ["engine"]
HERE = Path(__file__).with_name("java")


@ONLY_IN_TEST_ALL
@pytest.mark.timeout(1200)  # a bare machine downloads the driver and Maven's own plugins
def test_jdbc_driver(engine: EngineServer) -> None:
    """Everything a program does with clickhouse-jdbc works, with the driver's defaults and other compressions."""
    java, maven = tool("java", "THE JDBC DRIVER"), tool("mvn", "THE JDBC DRIVER")
    fetch = [maven, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    jars = built(HERE, ("pom.xml",), fetch, "lib")
    said = run([java, "-cp", f"{jars}/*", str(HERE / "Check.java")], engine)
    assert len(said.splitlines()) == 3 * 6 + 1
