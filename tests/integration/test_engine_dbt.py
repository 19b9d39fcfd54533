"""dbt with dbt-clickhouse against the engine server, as its writing user: dbt makes its schema itself."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from support.clients import built, run
from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer, engine

__all__ = ["engine"]
HERE = Path(__file__).with_name("dbt")
# dbt's newest core is no package that every index has.
_PACKAGES = ("dbt-clickhouse==1.10.3", "dbt-core==1.11.16")


@ONLY_IN_TEST_ALL
@pytest.mark.timeout(1200)  # a bare machine downloads dbt
def test_dbt(engine: EngineServer, tmp_path: Path) -> None:
    """`dbt debug` connects; a table, a view, an incremental model and tests are built twice."""
    uv = [sys.executable, "-m", "uv"]
    packages = " ".join(_PACKAGES)
    install = f'"$@" venv -q --relocatable --python {sys.executable} env && "$@" pip install -q --python env {packages}'
    dbt = built(HERE, (), ["sh", "-ec", install, "sh", *uv], "env")
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    told = {
        "ENGINE_PORT": str(engine.port),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_PROFILES_DIR": str(tmp_path),
    }
    command = [str(dbt / "bin/python"), "-c", "from dbt.cli.main import cli; cli()", "--no-version-check"]
    places = ["--project-dir", str(tmp_path)]
    assert "connection ok" in run([*command, "debug", "--connection", *places], engine, told)
    for _ in range(2):
        said = run([*command, "build", *places], engine, told)
        assert "PASS=5 WARN=0 ERROR=0" in said
        assert engine.ask("SELECT count(), uniqExact(id) FROM steptrail_dbt.growing") == "1000\t1000"
    assert engine.ask("SELECT step, rows FROM steptrail_dbt.by_step ORDER BY step LIMIT 1") == "it\\'s 0\t334"
