"""`HealthCheckManager` and `steptrail health` on the real store and broker: an answer, or UNKNOWN with its reason."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers import HealthCheckManager, HealthStatus
from steptrail.consumers.health import check as rules_of_answers
from steptrail.deploy.cli.main import run
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.stores.health_store import SightRow, VerdictRow, write_sight, write_verdicts
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_values import SettingsValues
from support.stack import Stack, environ_of, new_workspace
from support.waiting import PATIENCE_S, until

DEAD = "127.0.0.1:9"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    with new_workspace(stack) as made:
        yield made


@pytest.fixture
def store(settings: Settings) -> Iterator[ClickHouse]:
    with connect(settings) as clickhouse:
        for table in ("health_sight", "health_verdicts"):
            clickhouse.command(f"TRUNCATE TABLE {table}")
        yield clickhouse


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there may take its time to answer, and what was written a moment ago counts as new for a while."""
    monkeypatch.setattr(rules_of_answers, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(rules_of_answers, "SILENT_AFTER_S", 900.0)
    monkeypatch.setattr(rules_of_answers, "BLIND_AFTER_S", 3600.0)


def saw(
    store: ClickHouse, *, ago: float = 0.0, behind: float = 3.0, seeing: bool = True, reason: str = ""
) -> None:
    now = time.time()
    write_sight(store, SightRow(now - ago, seeing, now - behind, 1, reason, 0, "host:1"))


def judged(
    store: ClickHouse, status: str, *, pipeline: str = "", step: str = "", sentence: str = "it is so"
) -> None:
    finding = {"rule": "errors", "status": status, "sentence": sentence, "since": 1.0, "data": {"n": 1}}
    findings = json.dumps([{**finding, "silenced": False}])
    write_verdicts(store, [VerdictRow(pipeline, step, 1, status, 5.0, 10.0, sentence, findings)])


@pytest.mark.usefixtures("patient")
def test_the_verdict_with_its_evidence(settings: Settings, store: ClickHouse) -> None:
    """Of everything, of a pipeline, of a step; from the environment's settings as from given ones."""
    saw(store)
    judged(store, "CRITICAL", sentence="p: it fails")
    judged(store, "WARNING", pipeline="p", step="s")
    with HealthCheckManager(settings) as manager:
        check = manager.perform_health_check()
        assert (check.status, check.sentence) == (HealthStatus.CRITICAL, "p: it fails")
        assert check.findings[0].data == {"n": 1}
        assert manager.perform_health_check("p", "s").status is HealthStatus.WARNING
        unheard = manager.perform_health_check("nobody")
        assert (unheard.status, unheard.sentence) == (
            HealthStatus.UNKNOWN,
            "nothing has been heard of nobody yet",
        )
        with pytest.raises(ValueError, match="of which pipeline"):
            manager.perform_health_check(step="s")


@pytest.mark.usefixtures("patient")
def test_settings_come_from_the_environment(
    settings: Settings, store: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the contract says: no arguments."""
    for key, value in environ_of(settings).items():
        monkeypatch.setenv(key, value)
    saw(store)
    judged(store, "HEALTHY")
    manager = HealthCheckManager()
    assert manager.perform_health_check().status is HealthStatus.HEALTHY
    manager.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("sight", "reason"),
    [
        (None, "no health consumer has ever run here"),
        (
            {"ago": 2000.0, "behind": 2003.0, "reason": "was stopped"},
            r"has not reported for \d+ s; its last word: was stopped",
        ),
        ({"seeing": False, "reason": "Kafka: away"}, "cannot see: Kafka: away"),
        ({"behind": 5000.0}, r"been judged up to \d+ s ago"),
    ],
)
def test_what_cannot_be_believed_is_unknown(
    settings: Settings, store: ClickHouse, sight: dict[str, Any] | None, reason: str
) -> None:
    """Whatever the verdict was, which is told too."""
    judged(store, "HEALTHY", sentence="nothing is wrong")
    if sight is not None:
        saw(store, **sight)
    with HealthCheckManager(settings) as manager:
        check = manager.perform_health_check()
    assert check.status is HealthStatus.UNKNOWN
    assert re.search(reason, check.sentence)
    assert "before that: HEALTHY, nothing is wrong" in check.sentence


@pytest.mark.parametrize("away", ["kafka", "clickhouse", "both"])
def test_unreachable_parts_are_unknown(settings: Settings, store: ClickHouse, away: str) -> None:
    """Again and again, and nothing raises; `make health-sim` measures how soon."""
    saw(store)
    judged(store, "HEALTHY")
    changes: dict[str, SettingsValues] = {
        "kafka": {"kafka": DEAD},
        "clickhouse": {"clickhouse": f"http://default@{DEAD}/x"},
    }
    changes["both"] = {**changes["kafka"], **changes["clickhouse"]}
    with HealthCheckManager(settings.with_values(**changes[away])) as manager:

        def names_what_is_away() -> bool:
            check = manager.perform_health_check()
            assert check.status is HealthStatus.UNKNOWN
            said = " ".join(finding.sentence for finding in check.findings)
            names_kafka, names_clickhouse = "Kafka at" in said, "ClickHouse cannot be asked" in said
            return (names_kafka, names_clickhouse) == (away != "clickhouse", away != "kafka")

        for _ in range(3):  # a busy machine may keep what is there from answering in time
            until(names_what_is_away, f"answer that names {away}")


@pytest.mark.usefixtures("patient")
def test_the_command_says_it_by_its_exit_code(
    settings: Settings, store: ClickHouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 to 3 for the four words, 64 for a mistake; JSON with evidence and what is troubled."""
    for key, value in environ_of(settings).items():
        monkeypatch.setenv(key, value)
    saw(store)
    judged(store, "WARNING", pipeline="p", step="s", sentence="slow")
    for status, code in (("HEALTHY", 0), ("WARNING", 1), ("CRITICAL", 2)):
        store.command("TRUNCATE TABLE health_verdicts")
        judged(store, "WARNING", pipeline="p", step="s", sentence="slow")
        judged(store, status)
        assert run(["health", "--json"]) == code
        told = json.loads(capsys.readouterr().out)
        assert told["status"] == status
        assert [(each["step_name"], each["sentence"]) for each in told["troubled"]] == [("s", "slow")]
        assert run(["health"]) == code
        assert status in capsys.readouterr().out
    assert run(["health", "--pipeline", "p", "--step", "s"]) == 1
    assert run(["health", "--pipeline", "nobody"]) == 3
    assert run(["health", "--step", "s"]) == 64
    assert run(["health", "--what"]) == 64
    assert run(["health", "--json", "--what"]) == 64


def test_rules_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Set, pinned and silenced by rules that are added; with a mistake the file stays as it was, and it is named."""
    path = tmp_path / "health.toml"
    at = ["--file", str(path)]
    assert run(["health", "rules", "set", "--step", "ocr", "errors.bad=0.3", "--yes", *at]) == 0
    assert run(["health", "rules", "pin", "--pipeline", "p", "--error-share", "0.05", "--yes", *at]) == 0
    assert run(["health", "rules", "silence", "--step", "ocr", "silence", "--yes", *at]) == 0
    capsys.readouterr()
    assert run(["health", "rules", "show", "--pipeline", "p", "--step", "ocr", "--json", *at]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["errors"]["bad"], told["errors"]["normal"], told["silenced"]) == (0.3, 0.05, ["silence"])
    assert told["durations"]["normal_ms"] is None
    before = path.read_text()
    assert run(["health", "rules", "set", "errors.bad=30", "--yes", *at]) == 64
    assert "errors.bad" in capsys.readouterr().err
    assert path.read_text() == before
    assert run(["health", "rules", "check", str(path)]) == 0
    path.write_text(before + "[[rule]]\nerrors.wat = 3\n")
    assert run(["health", "rules", "check", str(path)]) == 64
    said = capsys.readouterr().err
    assert f"line {before.count(chr(10)) + 2}" in said
    assert "errors.wat" in said
    assert run(["health", "rules", "set", "errors.bad", "--yes", *at]) == 64
