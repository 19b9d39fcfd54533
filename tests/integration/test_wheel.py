"""The wheel, built and installed where nothing of this repository is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from support.effort import ONLY_IN_TEST_ALL

ROOT = Path(__file__).parents[2]
NOT_FOR_WORKERS = ["clickhouse_connect", "chdb", "typer", "rich", "prometheus_client", "uvicorn"]


def run(*command: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("STEPTRAIL_", "PYTHON", "VIRTUAL_ENV", "UV_PROJECT"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == expect, (
        f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(find_uv_bin(), "build", "--wheel", "--quiet", "--out-dir", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def install(wheel: Path, folder: Path, extras: str = "") -> Path:
    """An environment with the wheel and what it asks for; its bin directory."""
    environment = folder / "environment"
    run(find_uv_bin(), "venv", "--quiet", str(environment), cwd=folder)
    python = str(environment / "bin" / "python")
    run(find_uv_bin(), "pip", "install", "--quiet", "--python", python, f"{wheel}{extras}", cwd=folder)
    return environment / "bin"


def test_a_worker_gets_nothing_of_clickhouse(wheel: Path, tmp_path: Path) -> None:
    """Without extras the producers work, nothing of ClickHouse is installed or imported, and the command says
    what it needs."""
    bin_dir = install(wheel, tmp_path)
    program = (
        "import importlib.util, json, sys\n"
        "import steptrail.producers as p\n"
        "manager = p.ProcessingStepManager(p.InMemoryStorage())\n"
        "manager.add_step('doc', 'step', 'SUCCESS')\n"
        "assert len(manager.get_steps('doc')) == 1\n"
        f"names = {NOT_FOR_WORKERS!r}\n"
        "print(json.dumps([n for n in names if n in sys.modules or importlib.util.find_spec(n)]))"
    )
    assert json.loads(run(str(bin_dir / "python"), "-c", program, cwd=tmp_path).stdout) == []
    told = run(str(bin_dir / "steptrail"), "status", cwd=tmp_path, expect=2)
    assert "steptrail[cli" in told.stderr + told.stdout


@ONLY_IN_TEST_ALL
def test_the_demo_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """With [local] it does the whole job: the SQL, the schemas and the lock of the jars are all inside."""
    bin_dir = install(wheel, tmp_path, "[local]")
    arguments = ["demo", "--docs", "100", "--workers", "2", "--json", "--dir", str(tmp_path / "demo")]
    answer = json.loads(run(str(bin_dir / "steptrail"), *arguments, cwd=tmp_path).stdout)
    assert answer["emitted"] == answer["delivered"] == answer["projected"] > 0
