"""The chart in deploy/chart: rendered by Helm, checked against Kubernetes' own schemas. No cluster is asked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import yaml

from support.clients import built, tool

CHART = Path(__file__).parents[2] / "deploy" / "chart"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34")
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Kinds that others bring to a cluster; Kubernetes has no schema of them."""

Manifest = dict[str, Any]

_HELM = Path(__file__).with_name("helm")
# Without them a Helm of one's own build takes the cluster for Kubernetes 1.20.
_LINKED = "-s -w" + "".join(
    f" -X helm.sh/helm/v3/pkg/chartutil.k8sVersion{part}={value}"
    for part, value in (("Major", 1), ("Minor", 34))
)


@cache
def helm_program() -> str:
    """Helm, built from the Go module proxy in the versions that go.sum names. Skips the test where there is no Go."""
    go = tool("go", "THE HELM CHART")
    command = [go, "build", "-ldflags", _LINKED, "-o", "helm", "helm.sh/helm/v3/cmd/helm"]
    return str(built(_HELM, ("go.mod", "go.sum"), command, "helm"))


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm with these arguments; it reaches no cluster."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
    return subprocess.run(
        [helm_program(), *arguments], env=environ, capture_output=True, text=True, timeout=300, check=False
    )


def template(values: Path, *sets: str, version: str = KUBERNETES[-1]) -> subprocess.CompletedProcess[str]:
    """`helm template` with a file of values and further ones (`a.b=c`)."""
    more = [word for each in sets for word in ("--set", each)]
    return helm(
        *("template", "steptrail", str(CHART), "--namespace", "tracking"),
        *("--values", str(values), "--kube-version", f"{version}.0", *more),
    )


@cache
def _rendered(values: Path, sets: tuple[str, ...], version: str) -> str:
    done = template(values, *sets, version=version)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(values: str, *sets: str, version: str = KUBERNETES[-1]) -> list[Manifest]:
    """The manifests that a file of `ci/` gives, such as "default"."""
    text = _rendered(CHART / "ci" / f"{values}-values.yaml", sets, version)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of this kind whose name ends so."""
    [found] = [each for each in of_kind(manifests, kind) if each["metadata"]["name"].endswith(name)]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pod templates with the names of what makes them."""
    for manifest in of_kind(manifests, "Deployment", "Job"):
        yield manifest["metadata"]["name"], manifest["spec"]["template"]


def environment(pod: Manifest) -> dict[str, str | None]:
    """The variables of a pod's container; None for what comes from a Secret."""
    [container] = pod["spec"]["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


def faults(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes' schema of this version, taken strictly, has against a manifest."""
    group, _, api = manifest["apiVersion"].rpartition("/")
    prefix = f"{group.split('.')[0]}-" if group else ""
    validator = _validator(version, f"{manifest['kind'].lower()}-{prefix}{api}")
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(version: str, name: str) -> Any:
    schema = _schema(version, name)
    registry: Any = referencing.Registry()
    for each in (schema, _schema(version, "_definitions")):
        registry = referencing.Resource.from_contents(each) @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _schema(version: str, name: str) -> Mapping[str, Any]:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    found: Mapping[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return found
