"""The Helm chart: what it renders is valid, holds no more rights than needed, and speaks of what there is."""

from __future__ import annotations

import io
import re
import shutil
import urllib.request
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from steptrail.consumers.alerts.config.config import AlertsConfig
from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import State, Status
from steptrail.consumers.runtime.status_server import StatusServer
from steptrail.consumers.web.access.guard import OPEN_PATHS
from steptrail.deploy.cli.main import run
from steptrail.projections.stores.expected_steps_file import parse_expected_steps
from steptrail.schemas.configuration.settings import Settings, unknown_variables
from steptrail.schemas.configuration.settings_names import known_names
from steptrail.schemas.topics import Topics
from support.chart import (
    CHART,
    CUSTOM,
    KUBERNETES,
    VALUES,
    Manifest,
    environment,
    faults,
    helm,
    named,
    of_kind,
    pods,
    rendered,
    template,
)
from support.effort import ONLY_IN_TEST_ALL

pytestmark = pytest.mark.timeout(1800)  # a bare machine downloads and builds Helm

SETS = [path.name.removesuffix("-values.yaml") for path in VALUES]
VERSIONS = [
    KUBERNETES[0],
    *(pytest.param(version, marks=ONLY_IN_TEST_ALL) for version in KUBERNETES[1:-1]),
    KUBERNETES[-1],
]
_SECRET_FIELDS = ("PASSWORD", "USERNAME", "CLICKHOUSE_USER", "REGISTRY_USER", "KAFKA_OPTIONS")


@pytest.mark.parametrize("values", SETS)
def test_helm_lints_it(values: str) -> None:
    """Helm's own linter has nothing against the chart with any of its files of values."""
    done = helm("lint", "--strict", str(CHART), "--values", str(CHART / "ci" / f"{values}-values.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", SETS)
def test_kubernetes_takes_it(values: str, version: str) -> None:
    """Every manifest is what the schemas of each supported Kubernetes ask for, to the letter."""
    for manifest in rendered(values, version=version):
        if manifest["kind"] not in CUSTOM:
            assert faults(manifest, version) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_schemas_refuse(version: str) -> None:
    """The check above would find a field that does not exist and a value of the wrong kind."""
    deployment = named(rendered("default"), "Deployment", "-projector")
    spec = deployment["spec"]
    assert faults({**deployment, "spec": {**spec, "replica": 2}}, version)
    assert faults({**deployment, "spec": {**spec, "replicas": "two"}}, version)


def test_older_kubernetes_is_refused() -> None:
    """A cluster that the chart was not checked for is named."""
    done = template(VALUES[0], version="1.29")
    assert done.returncode != 0
    assert "requires kubeVersion: >=1.30" in done.stderr


@pytest.mark.parametrize("values", SETS)
def test_variables_are_settings(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that the chart sets is a setting, and the settings take all of a container together."""
    for name, pod in pods(rendered(values)):
        given = {key: value or '{"a": "b"}' for key, value in environment(pod).items()}
        assert unknown_variables(given) == [], name
        with monkeypatch.context() as patch:
            for key, value in given.items():
                patch.setenv(key, value)
            settings = Settings()
        assert settings.kafka.startswith("kafka")
        assert settings.clickhouse_target().host.startswith("clickhouse")


def test_numbers_stay_numbers() -> None:
    """A number of values.yaml, which is a float to Helm, reaches the program as it was written."""
    variables = environment(named(rendered("everything"), "Deployment", "-projector")["spec"]["template"])
    assert variables["STEPTRAIL_BATCH_MAX_BYTES"] == "33554432"
    assert variables["STEPTRAIL_BATCH_MAX_AGE_S"] == "0.25"
    assert variables["STEPTRAIL_SCHEMA_REGISTRY_REGISTER"] == "false"
    assert variables["STEPTRAIL_BATCH_MAX_EVENTS"] == "50000"


@pytest.mark.parametrize("values", SETS)
def test_pods_have_no_rights(values: str) -> None:
    """Not root, no capabilities, nothing to write to but /tmp, no token of Kubernetes, bounded in memory."""
    for name, pod in pods(rendered(values)):
        spec = pod["spec"]
        [container] = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["privileged"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert writable == ["/tmp"]
        assert container["resources"]["limits"]["memory"]
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("values", SETS)
def test_secrets_are_named_alone(values: str) -> None:
    """No Secret is made, and whatever is secret comes from one that exists."""
    manifests = rendered(values)
    assert of_kind(manifests, "Secret") == []
    for name, pod in pods(manifests):
        for variable, value in environment(pod).items():
            if variable.endswith(_SECRET_FIELDS):
                assert value is None, (name, variable)


def test_parts_have_users_of_their_own() -> None:
    """With a Secret for each part, none sees another's; Jobs get what they talk to and no more."""
    found = {}
    for name, pod in pods(rendered("secured")):
        [container] = pod["spec"]["containers"]
        secrets = {
            each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"] if "valueFrom" in each
        }
        found[name.removeprefix("steptrail-")] = secrets - {"registry"}
    assert found == {
        **{
            part: {f"kafka-{part}", f"clickhouse-{part}"} for part in ("projector", "health", "alerts", "web")
        },
        "topics": {"kafka-operator"},
        "migrate": {"clickhouse-migrator"},
    }


@pytest.mark.parametrize("values", SETS)
def test_services_do_not_look_like_settings(values: str) -> None:
    """What Kubernetes puts into pods of the namespace for a Service is no setting: others' workers go on working."""
    manifests = rendered(values)
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("clusterIP") != "None":
            start = service["metadata"]["name"].upper().replace("-", "_")
            ends = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT"]
            assert known_names(Settings.model_fields).isdisjoint(f"{start}_{end}" for end in ends)
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(manifests))


def test_probes_ask_what_is_served() -> None:
    """Every probe's path answers 200 on a part that runs, at the port where the part serves it."""
    status, metrics = Status(), ProjectorMetrics()
    status.enter(State.RUNNING)
    server = StatusServer(status, metrics, host="127.0.0.1", port=0)
    try:
        for deployment in of_kind(rendered("everything"), "Deployment"):
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            variables = environment(deployment["spec"]["template"])
            assert str(ports["metrics"]) == variables["STEPTRAIL_METRICS_PORT"]
            assert variables["STEPTRAIL_METRICS_HOST"] == "0.0.0.0"
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container[probe]["httpGet"]
                if asked["port"] == "http":
                    assert asked["path"] in OPEN_PATHS
                    assert str(ports["http"]) == variables["STEPTRAIL_WEB_PORT"]
                    continue
                assert asked["port"] == "metrics"
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{server.port}{asked['path']}", timeout=30
                ) as got:
                    assert got.status == 200
    finally:
        server.close()


@pytest.mark.parametrize("values", SETS)
def test_containers_run_commands_that_there_are(values: str) -> None:
    """The arguments of each container are a command of the command line, with options that it knows."""
    for _, pod in pods(rendered(values)):
        [container] = pod["spec"]["containers"]
        with redirect_stdout(io.StringIO()) as shown:
            assert run([*container["args"], "--help"]) == 0
        assert "Usage" in shown.getvalue()


@pytest.mark.parametrize("values", SETS)
def test_parts_may_stop_by_themselves(values: str) -> None:
    """Kubernetes kills a pod later than the part has stopped by its own deadline."""
    for deployment in of_kind(rendered(values), "Deployment"):
        pod = deployment["spec"]["template"]
        deadline = float(environment(pod)["STEPTRAIL_SHUTDOWN_TIMEOUT_S"] or 0)
        assert deadline
        assert pod["spec"]["terminationGracePeriodSeconds"] >= deadline + 10


@pytest.mark.parametrize("values", SETS)
def test_selectors_select(values: str) -> None:
    """A Deployment, a budget, a policy and a Service each select the pods of one part; autoscalers scale one."""
    manifests = rendered(values)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}

    def selected(selector: dict[str, str]) -> list[str]:
        return [name for name, has in labels.items() if selector.items() <= has.items()]

    for each in of_kind(manifests, "Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        selector = each["spec"].get("podSelector") or each["spec"]["selector"]
        assert selected(selector["matchLabels"]) == [each["metadata"]["name"]]
    for service in of_kind(manifests, "Service"):
        pages = service["metadata"]["name"].endswith("-http")
        web = [name for name in labels if name.endswith("-web")]
        assert selected(service["spec"]["selector"]) == (web if pages else list(labels))
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = named(manifests, "Deployment", scaler["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"]


def _reached(policy: Manifest) -> set[int]:
    return {
        port["port"]
        for rule in policy["spec"]["egress"]
        for port in rule["ports"]
        if port["protocol"] == "TCP"
    }


def test_policies_allow_what_is_needed() -> None:
    """Each part reaches names, and of Kafka, ClickHouse, the registry and the targets what it talks to; no more."""
    kafka, clickhouse, registry, targets, names = {9094, 9095}, {8443}, {443}, {443}, {53}
    wanted = {
        **dict.fromkeys(("projector", "health", "web"), kafka | clickhouse | registry | names),
        "alerts": kafka | clickhouse | targets | names,
        "topics": kafka | registry | names,
        "migrate": clickhouse | names,
    }
    policies = of_kind(rendered("secured"), "NetworkPolicy")
    assert {p["metadata"]["name"].removeprefix("steptrail-"): _reached(p) for p in policies} == wanted
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        served = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        part = policy["metadata"]["name"].removeprefix("steptrail-")
        assert served == {"web": {"metrics", "http"}, "topics": set(), "migrate": set()}.get(
            part, {"metrics"}
        )


def test_hooks_need_nothing_of_the_release() -> None:
    """What runs before the release is there uses no ServiceAccount, ConfigMap or policy of it."""
    manifests = rendered("default")
    for job in of_kind(manifests, "Job"):
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "serviceAccountName" not in job["spec"]["template"]["spec"]
        policy = named(manifests, "NetworkPolicy", job["metadata"]["name"])
        assert policy["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert not any("configMap" in volume for volume in volumes)


def test_files_are_what_the_parts_read(tmp_path: Path) -> None:
    """The alerts file, the rules and the expected steps of the ConfigMaps are read without an error."""
    manifests = [*rendered("default"), *rendered("everything")]
    texts = {key: text for config in of_kind(manifests, "ConfigMap") for key, text in config["data"].items()}
    AlertsConfig.parse(texts["alerts.toml"])
    (tmp_path / "rules.toml").write_text(texts["rules.toml"])
    Rules.load(tmp_path / "rules.toml")
    assert parse_expected_steps(texts["expected.toml"])
    mounted = {"alerts.toml": "STEPTRAIL_ALERTS_FILE", "rules.toml": "STEPTRAIL_HEALTH_RULES"}
    variables = [environment(pod) for _, pod in pods(manifests)]
    for key, variable in mounted.items():
        assert {each[variable] for each in variables if variable in each} == {f"/etc/steptrail/config/{key}"}


def test_another_file_is_another_pod() -> None:
    """A changed alerts file changes the pods' annotation, so that an upgrade restarts them; others stay."""
    key = "alerts.config=[defaults]"
    before, after = (
        {
            name: pod["metadata"]
            for name, pod in pods(rendered("default", *sets))
            if "annotations" in pod["metadata"]
        }
        for sets in ((), (key,))
    )
    assert [name for name in before if before[name] != after[name]] == ["steptrail-alerts"]


def test_rules_speak_of_metrics_that_there_are() -> None:
    """Every metric in the PrometheusRule is one that a part shows."""
    registries = (
        ProjectorMetrics().registry,
        ProjectorMetrics("steptrail_health").registry,
        AlertsMetrics().registry,
    )
    families = [family for registry in registries for family in registry.collect()]
    # Series with labels are shown once there is a value; the family is there before.
    shown = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    [rule] = of_kind(rendered("everything"), "PrometheusRule")
    expressions = " ".join(each["expr"] for group in rule["spec"]["groups"] for each in group["rules"])
    asked = set(re.findall(r"\bsteptrail_\w+", expressions))
    assert len(asked) >= 8
    assert asked <= shown


def test_autoscaling_follows_the_projectors_group() -> None:
    """KEDA asks for the lag of the group and topic that projectors read, in whole numbers."""
    [scaled] = of_kind(rendered("keda", "topicPrefix=other"), "ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    topics = Topics("other")
    assert trigger["metadata"]["consumerGroup"] == topics.projector_group
    assert trigger["metadata"]["topic"] == topics.steps.name
    assert trigger["metadata"]["lagThreshold"] == "2500000"
    [scaler] = of_kind(rendered("everything"), "HorizontalPodAutoscaler")
    assert scaler["spec"]["maxReplicas"] == 12


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("default", "kubectl -n tracking port-forward service/steptrail-http 8321:80"),
        ("everything", "https://tracking.example.com/"),
        ("least", "run `steptrail topics` and `steptrail migrate` before each upgrade"),
    ],
)
def test_notes_say_what_to_open(values: str, told: str, tmp_path: Path) -> None:
    """After an installation Helm says where the pages are, and what this release does not do."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    (copy / "templates" / "NOTES.txt").rename(copy / "NOTES.txt")
    (copy / "templates" / "notes.yaml").write_text('notes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n')
    done = helm(
        *("template", "steptrail", str(copy), "-n", "tracking", "--show-only", "templates/notes.yaml"),
        *("--values", str(CHART / "ci" / f"{values}-values.yaml")),
    )
    assert done.returncode == 0, done.stderr
    notes = yaml.safe_load(done.stdout)["notes"]
    assert told in notes
    assert "<no value>" not in notes
