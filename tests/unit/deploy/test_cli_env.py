"""`steptrail env`, and what other commands say of addresses, secrets and a stack that runs."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steptrail.deploy.cli.main import run
from steptrail.deploy.stack.folder import write_json
from steptrail.deploy.terminal.failures import OK, UNREACHABLE
from steptrail.deploy.terminal.vocabulary import named
from steptrail.schemas.configuration.settings import Settings
from support.effort import ONLY_IN_TEST_ALL

URL = "http://default:ses%20ame@127.0.0.1:1/steptrail"


@pytest.fixture(autouse=True)
def stack_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder whose stack runs, as this process, and answers nowhere."""
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STEPTRAIL_DIR", str(tmp_path))
    stack = {"kafka": "127.0.0.1:1", "clickhouse": URL, "dir": str(tmp_path), "pid": os.getpid()}
    write_json(tmp_path / "stack.json", stack)
    return tmp_path


def test_a_shell_can_use_what_env_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe: both addresses with the password, and what else is set, quoted for a shell."""
    monkeypatch.setenv("STEPTRAIL_PIPELINE", "Ada's invoices")
    monkeypatch.setenv("STEPTRAIL_KAFKA_OPTIONS", "a=1,b=2")
    assert run(["env"]) == OK
    script = capsys.readouterr().out + "env -0"
    got = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True).stdout
    variables = dict(line.split("=", 1) for line in got.split("\0") if line.startswith("STEPTRAIL_"))
    assert variables["STEPTRAIL_KAFKA"] == "127.0.0.1:1"
    assert variables["STEPTRAIL_CLICKHOUSE"] == URL
    before = Settings()
    for name in ("STEPTRAIL_PIPELINE", "STEPTRAIL_KAFKA_OPTIONS", "STEPTRAIL_DIR"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == before
    assert run(["env", "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == variables


def test_a_terminal_does_not_get_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """*** and how to have it; --show-password shows it."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(["env"]) == OK
    shown = capsys.readouterr()
    assert "ses" not in shown.out
    assert "http://default:***@127.0.0.1:1/steptrail" in shown.out
    assert "--show-password" in shown.err
    assert run(["env", "--show-password"]) == OK
    assert URL in capsys.readouterr().out


def test_status_says_the_whole_url_to_the_owner(
    stack_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """clickhouse_url, for who owns the folder; nobody else gets it, even if the file can be read."""
    run(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["clickhouse_url"] == URL
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    run(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["clickhouse_url"] is None


def test_nobody_is_told_to_start_a_stack_that_runs(
    stack_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint names the folder and what shows its state."""
    assert run(["errors"]) == UNREACHABLE
    said = capsys.readouterr().err
    assert "steptrail up" not in said
    assert "steptrail status" in said


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize(
    "argv",
    [["alerts", "list"], ["lag"], ["topics"], ["dlq", "list"], ["health"], ["alerts", "silences"]],
    ids=" ".join,
)
def test_librdkafka_says_nothing_by_itself(argv: list[str]) -> None:
    """With Kafka away a command says so once; no raw line of the C library is on the terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (UNREACHABLE, 3)
    for raw in ("[rdkafka", "rdkafka#", "[thrd:", "|FAIL|", "%3|"):
        assert raw not in done.stdout + done.stderr


def test_an_address_is_no_secret_but_its_password_is() -> None:
    """Errors keep the address: only the password in it is replaced, however it is spelled."""
    settings = Settings(clickhouse="http://u:ge%20heim@store:8123/db", kafka="k:1")
    secrets = settings.secrets()
    assert "ge%20heim" in secrets
    assert "ge heim" in secrets
    assert not any("store" in secret for secret in secrets)


def test_json_has_one_vocabulary() -> None:
    """Names of steps, durations with their unit, times as times; what users name is left as it is."""
    told = named(
        {
            "step": "ocr",
            "deadline_s": 600.0,
            "started_us": 1_000_000,
            "events_per_s": 2.0,
            "details": {"step": 1, "x_s": 2},
            "parts": [{"uptime_s": 3}],
        }
    )
    assert told.pop("started_at").isoformat() == "1970-01-01T00:00:01+00:00"
    assert told == {
        "step_name": "ocr",
        "deadline_seconds": 600.0,
        "events_per_second": 2.0,
        "details": {"step": 1, "x_s": 2},
        "parts": [{"uptime_seconds": 3}],
    }


def test_a_huge_message_is_not_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """The record is bounded, its fields as well; what is left out is counted."""
    from steptrail.producers import InMemoryStorage, ProcessingStepManager
    from steptrail.producers.log import LONGEST

    with caplog.at_level(logging.ERROR, "steptrail.steps"):
        ProcessingStepManager(InMemoryStorage()).add_step("d", "s", "ERROR", error_message="x" * 1_000_000)
    [record] = caplog.records
    assert len(record.getMessage()) < LONGEST + 200
    assert len(record.__dict__["error_message"]) < LONGEST + 100
    assert "characters more" in record.getMessage()
