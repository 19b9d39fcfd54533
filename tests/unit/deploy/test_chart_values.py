"""The chart's values: which are refused, with which words; and that README and schema are of this version."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart import CHART, template

pytestmark = pytest.mark.timeout(1800)  # a bare machine downloads and builds Helm

_SPEC = importlib.util.spec_from_file_location("chart_pages", Path(__file__).parents[2] / "docs" / "chart.py")
assert _SPEC is not None
assert _SPEC.loader is not None
chart_pages: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(chart_pages)

SECRET = "correct.Horse"

REFUSED = [
    ("projector.replica=3", "at '/projector': additional properties 'replica' not allowed"),
    ("projektor.enabled=true", "additional properties 'projektor' not allowed"),
    ("projector.replicas=two", "at '/projector/replicas': got string, want integer"),
    (
        "settings.STEPTRAIL_BATCH_MAX_EVENT=3",
        "at '/settings': additional properties 'STEPTRAIL_BATCH_MAX_EVENT'",
    ),
    ("settings.STEPTRAIL_BATCH_MAX_EVENTS=200000", "maximum: got 200,000, want 100,000"),
    ("settings.STEPTRAIL_WEB_PORT=80", "additional properties 'STEPTRAIL_WEB_PORT' not allowed"),
    ("networkPolicy.webFrom[0].cidr=10.0.0.0/8", "additional properties 'cidr' not allowed"),
    ("kafka.bootstrapServers=", "kafka.bootstrapServers: name Kafka's brokers as host:port"),
    ("kafka.bootstrapServers=kafka", "kafka.bootstrapServers: name Kafka's brokers as host:port"),
    ("clickhouse.url=", "clickhouse.url: name ClickHouse as http://host:8123/database"),
    ("web.tokensSecret=", "web: who may open the pages?"),
    ("web.proxy.header=X-User", "name the proxy's addresses"),
    ("web.ingress.enabled=true", "web.ingress.host: an Ingress needs the host name"),
    ("kafka.existingSecret=login", "set it to sasl_ssl"),
    ("kafka.securityProtocol=sasl_ssl", "kafka.saslMechanism: sasl_ssl needs one"),
    ("kafka.caSecret=ca", "set kafka.securityProtocol to ssl or sasl_ssl"),
    (
        "projector.autoscaling.enabled=true,projector.autoscaling.maxReplicas=9",
        "the steps topic has 6 partitions",
    ),
    ("alerts.config=", "alerts.config: the alerting consumer needs an alerts file"),
    # A secret where the chart asks for the name of one.
    (f"kafka.password={SECRET}", "at '/kafka': additional properties 'password' not allowed"),
    (f"settings.STEPTRAIL_KAFKA_SASL_PASSWORD={SECRET}", "'STEPTRAIL_KAFKA_SASL_PASSWORD' not allowed"),
    (f"clickhouse.url=http://me:{SECRET}@clickhouse:8123/steptrail", "without user and password"),
    (f"schemaRegistry.url=http://me:{SECRET}@registry", "without user and password"),
    (f"clickhouse.existingSecret={SECRET}", "clickhouse.existingSecret is not the name of a Secret"),
    (f"projector.kafkaSecret={SECRET}", "projector.kafkaSecret is not the name of a Secret"),
    (f"web.ingress.tlsSecret={SECRET}", "web.ingress.tlsSecret is not the name of a Secret"),
    (f"alerts.secretEnv[0]={SECRET}", "alerts.secretEnv[0] is not the name of a Secret"),
    (f"clickhouse.passwordKey={SECRET} !", "clickhouse.passwordKey is not a key of a Secret"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[given.partition("=")[0] for given, _ in REFUSED])
def test_wrong_values_are_refused(given: str, told: str) -> None:
    """Nothing is rendered from a wrong value; the error names it and what is right, and shows no secret."""
    done = template(CHART / "ci" / "default-values.yaml", given)
    assert done.returncode != 0
    assert done.stdout == ""
    assert told in done.stderr
    assert SECRET not in done.stderr


def test_the_readme_lists_the_values() -> None:
    """README.md has the table that `python tests/docs/chart.py` makes from values.yaml."""
    assert (CHART / "README.md").read_text("utf-8") == chart_pages.readme()


def test_the_schema_knows_the_settings() -> None:
    """values.schema.json takes the settings of this version: `python tests/docs/chart.py` writes them."""
    assert (CHART / "values.schema.json").read_text("utf-8") == chart_pages.schema()


def test_every_value_is_described_and_has_a_type() -> None:
    """Each value of values.yaml has a line of description and a place in the schema, and nothing is in but one."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    described = chart_pages.documented()

    def walk(given: dict[str, Any], known: dict[str, Any], path: str) -> None:
        assert known["additionalProperties"] is False, path
        assert set(given) == set(known["properties"]) - {"global"}, path
        for name, value in given.items():
            inside = f"{path}.{name}".strip(".")
            if inside in described:
                continue
            assert isinstance(value, dict), f"{inside} has no description"
            walk(value, known["properties"][name], inside)

    walk(values, schema, "")
