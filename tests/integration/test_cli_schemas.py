"""Every command's `--json`, on real data, is as `steptrail schema` says: all of its fields, and no others."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import jsonschema_rs
import pytest
from confluent_kafka import Producer
from typer.main import get_command

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.overview import new_silence, put_silence
from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.deploy.cli.commands.schema import all_shapes
from steptrail.deploy.cli.main import build
from steptrail.deploy.terminal.failures import NO, OK
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.stores.health_store import VerdictRow, write_verdicts
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.cli_commands import commands_with
from support.command_line import Command, command_line
from support.contract_fixtures import observation
from support.every_state import documents_in_every_state
from support.listener import listening
from support.shapes import check, check_written, schema_of
from support.stack import Stack
from support.waiting import until

RUN = secrets.token_hex(4)
REBUILT = [["rebuild", "drop", "--yes"], ["rebuild", "start", "--yes"]]
BEFORE = {
    "erase --list": [["erase", "invoices", "never-there.pdf", "--absent", "--yes"]],
    "retention release": [["retention", "hold", "invoices"]],
    **dict.fromkeys(("rebuild", "rebuild diff", "rebuild drop", "rebuild exchange"), REBUILT),
    "rebuild back": [*REBUILT, ["rebuild", "exchange", "--yes"]],
    "rebuild start": REBUILT[:1],
    "restore": [["backup", "--to", f"schemas-{RUN}"]],
    "backup --list": [["backup", "--to", f"listed-{RUN}"]],
}
"""What there must be for a command to have an answer."""
ELSEWHERE = {"up", "demo"}  # start a stack of their own: test_stack_lifecycle and test_demo check them


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """Something of everything that there is to be listed."""
    with documents_in_every_state(stack) as settings, connect(settings) as clickhouse:
        manager = ProcessingStepManager(open_storage(settings))
        handle = manager.add_step("stuck.pdf", "ocr", "RUNNING")
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
        topic = ObservationTopic(settings)
        assert topic.publish([observation("invoices", handle, 1, datetime.now(timezone.utc))])
        topic.close()
        now = time.time()
        for ident in ("5f3a09c1", "5f3a09c2"):
            made = new_silence(
                pipeline="others", step="*", kind="*", now=now, seconds=3600, reason="x", by="ada"
            )
            put_silence(settings, made.__class__(**{**vars(made), "id": ident}))
        alert = Alert(
            "a1", "e1", "invoices", "ocr", HealthStatus.CRITICAL, "errors", "bad", now, now, owner="team"
        )
        producer = Producer(settings.kafka_config())
        producer.produce(Topics(settings.topic_prefix).alerts.name, key=b"a1", value=alert.to_bytes())
        assert producer.flush(30) == 0
        finding = {
            "rule": "errors",
            "status": "CRITICAL",
            "sentence": "bad",
            "since": now,
            "data": {},
            "silenced": False,
        }
        write_verdicts(
            clickhouse, [VerdictRow("shop", "pay", 1, "CRITICAL", now, now, "bad", json.dumps([finding]))]
        )
        until(lambda: clickhouse.query("SELECT 1 FROM stalls"), "stall in its table")
        until(lambda: clickhouse.query("SELECT 1 FROM step_minutes"), "counted minutes")
        yield settings


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    return command_line(settings, monkeypatch, capfd)


def _argvs(folder: Path, group: str, target: str) -> dict[str, list[str]]:
    """For each schema the arguments with which its command has an answer, where it needs any."""
    rules, alerts, journal = folder / "health.toml", folder / "alerts.toml", folder / "journal"
    rules.write_text("[[rule]]\nstep = 'nobody'\n", encoding="utf-8")
    alerts.write_text(target, encoding="utf-8")
    journal.mkdir()
    return {
        "alerts check": [str(alerts)],
        "alerts expire": ["5f3a09c2", "--yes"],
        "alerts list": ["--file", str(alerts)],
        "alerts silence": ["-p", "invoices", "--for", "1h", "--reason", "x"],
        "alerts silences": [],
        "alerts test": ["ops", "--file", str(alerts)],
        "backup": ["--to", f"made-{RUN}"],
        "backup --list": [],
        "dlq drop": ["--all"],
        "dlq list": [],
        "dlq redrive": [],
        "dlq show": ["PLACE"],
        "doc": ["stuck.pdf"],
        "documents": [],
        "down": ["--dir", str(folder / "none")],
        "emitters": [],
        "env": [],
        "erase": ["invoices", "stuck.pdf"],
        "erase --list": [],
        "errors": ["--stalled"],
        "errors --group": [],
        "expect": ["invoices", "fetch", "ocr"],
        "export": ["events"],
        "failing": [],
        "failing --by-step": [],
        "grants": [],
        "groups": [],
        "groups mute": [group, "--yes"],
        "groups reopen": [group, "--yes"],
        "groups resolve": [group],
        "groups rule": ["--new-for", "2d"],
        "groups show": [group],
        "health": [],
        "health replay": ["--since", "10m"],
        "health rules check": [str(rules)],
        "health rules show": ["--step", "ocr"],
        "in-progress": [],
        "incomplete": [],
        "lag": [],
        "losses": ["--all"],
        "migrate": [],
        "migrate --print": [],
        "rebuild": [],
        "rebuild back": [],
        "rebuild diff": [],
        "rebuild drop": [],
        "rebuild exchange": [],
        "rebuild start": [],
        "restore": [f"schemas-{RUN}", "--topics"],
        "retention": [],
        "retention apply": [],
        "retention default": ["1y"],
        "retention hold": ["invoices"],
        "retention release": ["invoices"],
        "retention set": ["invoices", "90d"],
        "run spool": [str(journal), "--once"],
        "search": ["no answer"],
        "shards": [],
        "sql": ["SELECT count() AS n FROM steps"],
        "status": ["--dir", str(folder / "none")],
        "steps": [],
        "throughput": [],
        "topics": [],
        "waits": [],
    }


def test_every_command_with_json_has_a_schema(tmp_path: Path) -> None:
    """And every schema is tried here, or where its command starts a stack of its own."""
    with_json = set(commands_with(get_command(build([])), "--json"))
    assert {name.partition(" --")[0] for name in all_shapes()} == with_json
    assert set(_argvs(tmp_path, "", "")) <= set(all_shapes()) - ELSEWHERE
    watched = {name.partition(" --")[0] for name, shape in all_shapes().items() if shape.watched}
    assert watched == set(commands_with(get_command(build([])), "--watch"))


@pytest.mark.parametrize("name", sorted(all_shapes()))
def test_a_schema_is_a_schema(name: str) -> None:
    """Of the draft that it names, and not one that takes everything."""
    jsonschema_rs.meta.validate(schema_of(name))
    assert schema_of(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    if name not in ("sql", "export", "env"):
        assert not jsonschema_rs.Draft202012Validator(schema_of(name)).is_valid({"surprise": 1})


@pytest.mark.parametrize("name", sorted(set(all_shapes()) - ELSEWHERE))
def test_what_is_written_is_as_its_schema_says(
    name: str, command: Command, settings: Settings, tmp_path: Path
) -> None:
    """At least one line of each list, with real data in it."""
    with connect(settings) as clickhouse, listening(None) as listener:
        [(group,)] = clickhouse.query("SELECT group_id FROM error_group_hours ORDER BY group_id LIMIT 1")
        target = f"[[target]]\nname = 'ops'\ntype = 'webhook'\nurl = '{listener.url}'\n[[route]]\ntargets = ['ops']\n"
        argv = [*name.split(), *_argvs(tmp_path, group, target).get(name, [])]
        if "PLACE" in argv:
            argv[argv.index("PLACE")] = json.loads(command("dlq", "list", "--json")[1].splitlines()[0])[
                "place"
            ]
        for before in BEFORE.get(name, ()):
            assert command(*before)[0] == OK
        code, out, err = command(*argv, "--json")
    assert code == OK or name in ("health", "status"), err
    if name == "export":
        assert json.loads(out.splitlines()[0])["event_id"]
    assert check_written(name, out, err) >= 1


@pytest.mark.parametrize(
    "argv", [["failing", "-p", "nobody"], ["failing", "--since", "soon"], ["doc", "x"], ["fail"]]
)
def test_errors_are_as_the_schema_says(argv: list[str], command: Command) -> None:
    """One object on standard error."""
    code, out, err = command(*argv, "--json")
    assert code != OK
    assert out == ""
    check(schema_of("failing")["$defs"]["error"], json.loads(err))


def test_the_schema_is_shown(command: Command) -> None:
    """By the command's words; a misspelt one is told."""
    assert json.loads(command("schema", "dlq", "list")[1]) == schema_of("dlq list")
    assert json.loads(command("schema", "failing", "by-step")[1]) == schema_of("failing --by-step")
    assert command("schema")[1].splitlines() == sorted(all_shapes())
    code, _, err = command("schema", "failling")
    assert code not in (OK, NO)
    assert "failing" in err
