"""`steptrail run web`: tokens, and where it refuses to listen."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from steptrail.consumers.web.access.tokens import Principal, TokenFile
from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal.failures import OK, USAGE


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STEPTRAIL_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", "http://127.0.0.1:1/x")


def test_a_new_token_is_shown_once_and_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output alone, so that it can go into a file or a secret store; its file has the hash."""
    file = tmp_path / "tokens.toml"
    command = [
        "run",
        "web",
        "--new-token",
        "ann",
        "--role",
        "operate",
        "-p",
        "invoices",
        "--tokens",
        str(file),
    ]
    assert run(command) == OK
    token = capsys.readouterr().out.strip()
    assert TokenFile(file).principal_of(token) == Principal("ann", "operate", ("invoices",))
    assert run(command) == USAGE  # the name is taken
    assert run(["run", "web", "--new-token", "x", "--role", "admin", "--tokens", str(file)]) == USAGE
    assert run(["run", "web", "--new-token", "x"]) == USAGE


def test_beyond_loopback_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """And serves nobody."""
    assert run(["run", "web", "--host", "0.0.0.0", "--port", "0"]) == USAGE
    assert "STEPTRAIL_WEB_TOKENS" in capsys.readouterr().err


def test_an_address_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the settings that say it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["run", "web", "--port", str(port)]) == USAGE
    told = capsys.readouterr().err
    assert "STEPTRAIL_WEB_PORT" in told
    assert str(port) in told
