"""A real Prometheus with the committed configuration: it reads the parts' metrics, and tells a real Alertmanager."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.health.metrics import HealthMetrics
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.status_server import Metrics, StatusServer
from steptrail.consumers.web.metrics import WebMetrics
from steptrail.deploy.stack.ports import choose_ports
from support.alertmanager import running_alertmanager
from support.debian import program
from support.listener import listening
from support.waiting import until

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


def test_it_reads_every_part_and_tells(tmp_path: Path) -> None:
    """Every job's target is up, every rule is evaluated, and an alert about steptrail itself reaches its receiver."""
    projector, alerts = ProjectorMetrics(), AlertsMetrics()
    parts: dict[str, Metrics] = {
        "projector": projector,
        "health": HealthMetrics(),
        "alerts": alerts,
        "web": WebMetrics(),
    }
    with ExitStack() as held:
        receiver = held.enter_context(listening(None))
        manager = held.enter_context(running_alertmanager(tmp_path, receiver))
        servers = {
            name: held.enter_context(closing(StatusServer(Status(), part, host="127.0.0.1", port=0)))
            for name, part in parts.items()
        }
        ports = {name: server.port for name, server in servers.items()}
        ask = held.enter_context(_prometheus(tmp_path, ports, manager.url.removeprefix("http://")))

        def up() -> bool:
            targets = ask("targets")["activeTargets"]
            return {each["labels"]["job"] for each in targets if each["health"] == "up"} == {
                f"steptrail-{name}" for name in parts
            }

        until(up, "every target up")
        alerts.dead.labels("ops").set(1)
        projector.dead_letters.labels("BAD_JSON").inc()
        wanted = {"SteptrailAlertTargetFails", "SteptrailDeadLetters"}
        until(
            lambda: wanted <= {each["labels"]["alertname"] for each in manager.alerts()},
            "the alerts in Alertmanager",
        )
        until(
            lambda: all(
                rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]
            ),
            "every rule evaluated",
        )


@contextmanager
def _prometheus(folder: Path, ports: dict[str, int], manager: str) -> Iterator[Any]:
    """Prometheus with the committed files, on these ports of loopback and in a hurry; a function that asks its API."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / each) for each in config["rule_files"]]
    for job in config["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[target.partition(':')[0]]}"]}]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [manager]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port = choose_ports({"prometheus": 0})["prometheus"]
    command = [str(program("prometheus", "prometheus")), f"--config.file={file}"]
    command += [f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address=127.0.0.1:{port}"]

    def ask(what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", timeout=10) as answer:
            return json.load(answer)["data"]

    def answers() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return bool(ask("status/runtimeinfo"))
        except OSError:
            return False

    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        until(answers, "Prometheus")
        yield ask
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()
