"""Commands that change something: without --yes they say what they would do, and nothing is changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.overview import put_silence
from steptrail.consumers.alerts.topics import read_board
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.deploy.terminal.failures import OK
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.cli_commands import commands_with_yes
from support.command_line import Command, command_line
from support.effort import ONLY_IN_TEST_ALL
from support.every_state import documents_in_every_state
from support.stack import Stack

TABLES = (
    "error_group_actions",
    "error_group_rules",
    "expected_steps_declarations",
    "dead_letter_decisions",
    "erasures",
    "rebuilds",
    "retention_changes",
    "steps",
)
SILENCE = "5f3a09c1"
REBUILT = [["rebuild", "drop", "--yes"], ["rebuild", "start", "--yes"]]
BEFORE = {
    "retention release": [["retention", "hold", "invoices"]],
    "rebuild start": REBUILT[:1],
    "rebuild exchange": REBUILT,
    "rebuild back": [*REBUILT, ["rebuild", "exchange", "--yes"]],
    "rebuild drop": REBUILT,
}

CHANGES = {
    "groups resolve": ["GROUP"],
    "groups mute": ["GROUP", "--reason", "not ours"],
    "groups reopen": ["GROUP"],
    "groups rule": ["--new-for", "2d"],
    "expect": ["invoices", "fetch", "ocr"],
    "alerts silence": ["-p", "inv*", "--for", "1h", "--reason", "x"],
    "alerts expire": [SILENCE],
    "dlq redrive": ["--force"],
    "dlq drop": ["--all"],
    "retention set": ["invoices", "90d"],
    "retention default": ["1y"],
    "retention release": ["invoices"],
    "retention apply": [],
    "erase": ["invoices", "scan_0029.pdf"],
    "rebuild start": [],
    "rebuild exchange": [],
    "rebuild back": [],
    "rebuild drop": [],
    "health rules set": ["--step", "ocr", "errors.bad=0.3", "--file", "RULES"],
    "health rules pin": ["--step", "ocr", "--deadline-s", "9", "--file", "RULES"],
    "health rules silence": ["errors", "--step", "ocr", "--file", "RULES"],
}


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """Groups, dead letters, an alert that fires, and a silence of nothing."""
    with documents_in_every_state(stack) as settings:
        now = time.time()
        put_silence(settings, Silence(SILENCE, "others", "*", "*", now, now + 3600, "x", "ada"))
        alert = Alert("a1", "e1", "invoices", "ocr", HealthStatus.CRITICAL, "errors", "bad", now, now)
        producer = Producer(settings.kafka_config())
        producer.produce(Topics(settings.topic_prefix).alerts.name, key=b"a1", value=alert.to_bytes())
        assert producer.flush(30) == 0
        yield settings


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    return command_line(settings, monkeypatch, capfd)


def _state(settings: Settings, clickhouse: ClickHouse, rules: Path) -> dict[str, Any]:
    """All that any of the commands could change."""
    counts = {table: clickhouse.query(f"SELECT count() FROM {table}")[0][0] for table in TABLES}
    silences = {name: each.ends for name, each in read_board(settings, timeout=15).silences.items()}
    return {**counts, "silences": silences, "rules": rules.read_text(encoding="utf-8")}


def _argv(name: str, clickhouse: ClickHouse, rules: Path) -> list[str]:
    [(group,)] = clickhouse.query("SELECT group_id FROM error_group_hours ORDER BY group_id LIMIT 1")
    given = {"GROUP": group, "RULES": str(rules)}
    return [*name.split(), *(given.get(word, word) for word in CHANGES[name])]


def test_every_command_that_changes_something_is_tried() -> None:
    """A new one needs its line here; shards are tried in test_shards.py, restores in test_backup.py."""
    assert set(commands_with_yes()) == {*CHANGES, "shards", "restore"}


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_changed_without_yes(
    name: str, command: Command, settings: Settings, tmp_path: Path
) -> None:
    """In text and in JSON it says that it is a dry run; with --yes the same command line changes something."""
    rules = tmp_path / "health.toml"
    rules.write_text("[[rule]]\nstep = 'nobody'\n", encoding="utf-8")
    for words in BEFORE.get(name, ()):
        assert command(*words)[0] == OK
    with connect(settings) as clickhouse:
        argv, before = _argv(name, clickhouse, rules), _state(settings, clickhouse, rules)
        code, out, err = command(*argv)
        assert code == OK, err
        assert out
        assert "Nothing was changed: --yes does it." in err
        if not name.startswith("health"):
            code, out, err = command(*argv, "--json")
            assert code == OK, err
            assert json.loads(out)["dry_run"] is True
        assert _state(settings, clickhouse, rules) == before
        code, out, err = command(*argv, "--yes", *([] if name.startswith("health") else ["--json"]))
        assert "Nothing was changed" not in err
        assert name.startswith("health") or json.loads(out)["dry_run"] is False
        # Nothing here is old enough for rules to remove.
        assert (_state(settings, clickhouse, rules) != before) == (name != "retention apply")


def test_a_silence_says_how_many_alerts_it_would_hold_back(command: Command) -> None:
    """Of those that fire now."""
    silence = ("alerts", "silence", "--for", "1h", "--reason", "x", "--json")
    assert json.loads(command(*silence, "-p", "inv*")[1])["alerts"] == 1
    assert json.loads(command(*silence, "-p", "others")[1])["alerts"] == 0


def test_letters_are_counted_by_what_would_become_of_them(command: Command) -> None:
    """A dry run of redrive says what it would leave alone, and why; --dry-run with --yes is a contradiction."""
    told = json.loads(command("dlq", "redrive", "--state", "all", "--json")[1])
    assert (told["would_send"], told["sent"]) == (0, 0)
    assert sum(told["skipped"].values()) == told["matched"] >= 3
    code, _, err = command("dlq", "drop", "--all", "--dry-run", "--yes")
    assert code != OK
    assert "exclude each other" in err
