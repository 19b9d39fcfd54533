"""Who may speak to the engine server."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from steptrail.deploy.engine.auth import Authenticator, check_origin, is_loopback, load_password
from steptrail.deploy.engine.errors import EngineError
from steptrail.schemas import ConfigurationError


def test_password_is_made_once(tmp_path: Path) -> None:
    """The first call writes a password that only its owner can read; the next ones give the same."""
    path = tmp_path / "password"
    first = load_password(path)
    assert len(first) >= 24
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_password(path) == first
    assert load_password(tmp_path / "other") != first


def test_password_files_that_are_refused(tmp_path: Path) -> None:
    """An empty file, one that others can read, and a missing folder are refused, and no secret is told."""
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        load_password(path)
    assert "hunter2" not in str(caught.value)
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="empty"):
        load_password(path)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        load_password(tmp_path / "no folder" / "password")


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_credentials() -> None:
    """The user and the password are taken from headers before Basic before the address."""
    right = Authenticator("pass:wörd")
    right.check(basic("default:pass:wörd"), {})
    right.check({"x-clickhouse-user": "default", "x-clickhouse-key": "pass:wörd"}, {})
    right.check({"x-clickhouse-key": "pass:wörd"}, {})
    right.check({}, {"password": "pass:wörd"})
    for headers, parameters in (
        ({}, {}),
        ({}, {"user": "default"}),
        ({}, {"user": "default", "password": "pass"}),
        ({}, {"user": "root", "password": "pass:wörd"}),
        (basic("default"), {}),
        (basic("root:pass:wörd"), {}),
        ({"authorization": "Basic %%%"}, {"password": "pass:wörd"}),
        ({"authorization": "Bearer pass:wörd"}, {"password": "pass:wörd"}),
        ({"x-clickhouse-user": "default"}, {"password": "pass:wörd"}),
        ({"x-clickhouse-key": ""}, {}),
    ):
        with pytest.raises(EngineError, match="AUTHENTICATION_FAILED") as caught:
            right.check(headers, parameters)
        assert caught.value.code == 516
        assert "pass:wörd" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8123", "127.0.0.1", "127.3.2.1:80", "[::1]:9"])
def test_hosts_of_this_machine(host: str) -> None:
    """Loopback names are let in."""
    check_origin({"host": host})


@pytest.mark.parametrize(
    "host",
    ["", "example.com", "127.0.0.1.example.com", "0.0.0.0", "10.0.0.1:80", "[::2]", "localhost.x:1", "::1"],
)
def test_foreign_hosts(host: str) -> None:
    """Any other name is refused."""
    with pytest.raises(EngineError, match="not a loopback name"):
        check_origin({"host": host})


def test_origin() -> None:
    """Any Origin is refused, this server's own too."""
    with pytest.raises(EngineError, match="Origin") as caught:
        check_origin({"host": "localhost", "origin": "http://localhost"})
    assert caught.value.status == 403


def test_loopback() -> None:
    """Only addresses and names that cannot leave the machine count."""
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "::1", "127.255.0.1")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "192.168.0.1", "example.com")))
