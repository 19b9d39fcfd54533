"""The configuration and the rules of deploy/prometheus, checked and tested by Prometheus' own promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.health.metrics import HealthMetrics
from steptrail.consumers.projector.sources import side_sources
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status_server import Metrics
from steptrail.consumers.web.metrics import WebMetrics
from steptrail.schemas.topics import Topics
from support.alertmanager import find_alertmanager
from support.debian import program, unpacked
from support.effort import ONLY_IN_TEST_ALL

PROMETHEUS = Path(__file__).parents[3] / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "steptrail.rules.yml").read_text())["groups"]
    for rule in group["rules"]
]


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program("promtool", "prometheus")), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_configuration_is_valid() -> None:
    """What Prometheus and Alertmanager read; the rules with it."""
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout
    amtool = shutil.which("amtool") or str(unpacked(find_alertmanager().name) / "usr" / "bin" / "amtool")
    checked = subprocess.run(
        [amtool, "check-config", str(PROMETHEUS / "alertmanager.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_do_what_their_tests_say() -> None:
    """promtool runs deploy/prometheus/tests."""
    done = promtool("test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yml"))))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("broken", ["vector(0) > 1", pytest.param("vector(1)", marks=ONLY_IN_TEST_ALL)])
def test_a_rule_that_is_broken_is_noticed(broken: str, tmp_path: Path) -> None:
    """Neither an alert that never fires nor one that always does passes its tests."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    content = yaml.safe_load((PROMETHEUS / "steptrail.rules.yml").read_text())
    for rule in (rule for group in content["groups"] for rule in group["rules"] if "alert" in rule):
        rule["expr"] = broken
    (tmp_path / "prometheus" / "steptrail.rules.yml").write_text(yaml.safe_dump(content))
    done = promtool("test", "rules", "tests/steptrail.test.yml", folder=tmp_path / "prometheus")
    assert done.returncode != 0
    noticed = set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr))
    assert noticed == {rule["alert"] for rule in RULES if "alert" in rule}


def test_every_metric_of_the_rules_is_one_that_a_part_shows() -> None:
    """By the exposition of each part; `up` is Prometheus' own."""
    parts: list[Metrics] = [ProjectorMetrics(), HealthMetrics(), AlertsMetrics(), WebMetrics()]
    shown = {
        name.decode()
        for part in parts
        for name in re.findall(rb"^# TYPE (\w+)", part.exposition(), re.MULTILINE)
    }
    shown |= {name + "_bucket" for name in shown}
    asked = {name for rule in RULES for name in re.findall(r"(?<![\w:\"~+.])(steptrail_\w+)", rule["expr"])}
    assert len(asked) > 12
    assert asked <= shown


def test_every_loop_of_the_projector_is_watched() -> None:
    """Each shows what it waits for under a name that SteptrailPartWaits takes in."""
    (rule,) = (rule for rule in RULES if rule.get("alert") == "SteptrailPartWaits")
    taken = re.compile(re.findall(r'__name__=~"([^"]+)"', rule["expr"])[0])
    names = ["steptrail_projector", "steptrail_health"]
    names += [f"steptrail_{source.spec.name}" for source in side_sources(Topics(""), None)]  # type: ignore[arg-type]
    assert len(names) == 5
    for name in names:
        assert taken.fullmatch(f"{name}_waiting")
