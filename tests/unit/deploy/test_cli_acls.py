"""`steptrail acls`."""

from __future__ import annotations

import pytest
import yaml

from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal.failures import OK, USAGE


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPTRAIL_KAFKA", "kafka-1:9093")
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", "http://127.0.0.1:1/x")
    monkeypatch.setenv("STEPTRAIL_TOPIC_PREFIX", "acme")


def test_roles_principals_and_prefix_are_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """One role for a principal of one's own, on topics of the settings' prefix; a plain name is a User."""
    assert run(["acls", "--role", "emitter", "--principal", "emitter=ocr"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# emitter: User:ocr"
    assert lines[1:] == [
        "kafka-acls --bootstrap-server kafka-1:9093 --command-config admin.properties --add "
        "--allow-principal User:ocr --operation Write --topic acme.steps.v1 --topic acme.emitters.v1"
    ]


def test_yaml_is_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    """A document for each role."""
    assert run(["acls", "--format", "yaml", "--cluster", "production"]) == OK
    users = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [user["metadata"]["name"] for user in users][:2] == ["steptrail-admin", "steptrail-emitter"]
    assert {user["metadata"]["labels"]["strimzi.io/cluster"] for user in users} == {"production"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--role", "emiter"], "there is no role 'emiter'"),
        (["--principal", "emitter"], "expected ROLE=USER"),
        (["--principal", "nobody=User:x"], "there is no role 'nobody'"),
    ],
)
def test_mistakes_are_told(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the roles that there are, or the form that is expected."""
    assert run(["acls", *argv]) == USAGE
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
