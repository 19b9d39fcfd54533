"""Every command on a real terminal (a pty), on a store whose every name and message is hostile."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from typer.main import get_command

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.overview import new_silence, put_silence
from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.deploy.cli.main import build
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.stores.expected_steps import declare_all
from steptrail.projections.stores.health_store import VerdictRow, write_verdicts
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.cli_commands import commands
from support.contract_fixtures import observation
from support.hostile import NAME, unwanted
from support.letters import FIRST_OFFSET, set_aside
from support.projecting import projecting
from support.stack import Stack, environ_of, new_workspace
from support.waiting import PATIENCE_S, until
from support.warm_cli import WarmCli, warm_cli

GROUP_ID = "00000000000000aa"
PLACE = f"2:{FIRST_OFFSET}"
SHOWN = re.compile(rb"\\(x|u00)1b\]52;c;eA")  # what is seen of the first escape of NAME, in text and in JSON

_GROUP = """
INSERT INTO error_group_hours
SELECT toStartOfHour(now()), '00000000000000aa', {name:String}, {name:String}, {name:String}, {name:String},
       now64(3), now64(3), 3, uniqState(toString(1)), uniqState(toString(1)), [], 1
"""


class Run(NamedTuple):
    """A command line. `shows`: it repeats a hostile text; `stopped_at`: stopped once this was written.

    `term`: a kind of terminal on which moving bars are not drawn.
    """

    argv: tuple[str, ...]
    shows: bool = True
    stopped_at: bytes | None = None
    term: str = "xterm-256color"


def on_terminal(cli: WarmCli, run: Run, environ: dict[str, str]) -> bytes:
    """What `steptrail` writes to a terminal of 100 columns, answer and remarks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environ = {key: value for key, value in environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    command = cli.start(run.argv, environ | {"TERM": run.term}, theirs)
    os.close(theirs)
    written, deadline, stopped = b"", time.monotonic() + PATIENCE_S, False
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                try:
                    written += os.read(ours, 65536)
                except OSError:  # its end
                    return written
            if run.stopped_at is not None and not stopped and run.stopped_at in written:
                stopped = True
                command.signal(signal.SIGTERM)
        command.signal(signal.SIGKILL)
        raise AssertionError(f"{run.argv} does not end: {written[-1000:]!r}")
    finally:
        os.close(ours)


def test_the_terminal_of_these_tests_obeys() -> None:
    """What is looked for would be found: a program that writes the text as it is is caught."""
    ours, theirs = pty.openpty()
    os.write(theirs, NAME.encode() + b"\x1b[8mhidden\n")
    found = unwanted(os.read(ours, 65536))
    os.close(ours)
    os.close(theirs)
    assert len(found) > 40


@pytest.fixture(scope="module")
def cli() -> Iterator[WarmCli]:
    with warm_cli() as cli:
        yield cli


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """A store in which every text from outside is NAME."""
    with new_workspace(stack) as settings, projecting(settings):
        with ProcessingStepManager(open_storage(settings, pipeline=NAME)) as manager:
            manager.add_step(NAME, NAME, "RUNNING")
            manager.add_step(
                NAME, NAME, "ERROR", error_message=NAME, details={NAME: NAME, "error_type": NAME}
            )
            manager.add_step(NAME, "next", "SUCCESS", details={NAME: NAME})
            handle = manager.add_step(NAME, "stuck", "RUNNING")
            assert manager.flush(30) == 0
            assert manager.wait_projected(60)
        _observe(settings, handle)
        _poison(settings)
        set_aside(settings, [NAME.encode()], headers=[(NAME, NAME.encode())])
        put_silence(
            settings,
            new_silence(
                pipeline=NAME, step=NAME, kind=NAME, now=time.time(), seconds=3600, reason=NAME, by=NAME
            ),
        )
        _alert(settings)
        with connect(settings) as clickhouse:
            _fill(clickhouse, settings)
            until(
                lambda: clickhouse.query("SELECT 1 FROM dead_letters LIMIT 2 OFFSET 1"),
                "letters in their table",
            )
            until(lambda: clickhouse.query("SELECT 1 FROM stalls"), "stall in its table")
        yield settings


def _poison(settings: Settings) -> None:
    producer = Producer(settings.kafka_config())
    key, value = f"{NAME}/{NAME}".encode(), NAME.encode()
    producer.produce(Topics(settings.topic_prefix).steps.name, value, key, headers=[(NAME, value)])
    assert producer.flush(30) == 0


def _observe(settings: Settings, handle: Any) -> None:
    topic = ObservationTopic(settings)
    stall = observation(NAME, handle, 1, datetime.now(timezone.utc))
    assert topic.publish([replace(stall, sentence=NAME)])
    topic.close()


def _alert(settings: Settings) -> None:
    now = time.time()
    alert = Alert("a1", "e1", NAME, NAME, HealthStatus.CRITICAL, NAME, NAME, now, now, owner=NAME)
    producer = Producer(settings.kafka_config())
    producer.produce(Topics(settings.topic_prefix).alerts.name, key=b"a1", value=alert.to_bytes())
    assert producer.flush(30) == 0


def _fill(clickhouse: ClickHouse, settings: Settings) -> None:
    now = time.time()
    verdict = VerdictRow(NAME, NAME, 1, "CRITICAL", now, now, NAME, "[]")
    write_verdicts(clickhouse, [verdict])
    declare_all(clickhouse, {NAME: [NAME, "next", "last"]}, max_name_bytes=settings.max_name_bytes)
    clickhouse.command(_GROUP, {"name": NAME})


def _runs(folder: Path) -> dict[str, list[Run]]:
    """For each command the command lines that are tried."""
    rules, alerts, plain = (
        folder / f"rules{NAME[:40]}.toml".replace("/", "_"),
        folder / "alerts.toml",
        folder / "file",
    )
    rules.write_text("[[rule]]\nstep = 'ocr'\n", encoding="utf-8")
    alerts.write_text(f"[[target]]\nname = {'x' * 3}\n", encoding="utf-8")
    plain.write_text("", encoding="utf-8")
    nowhere = str(plain / NAME.replace("/", "_"))
    one, file = (NAME,), ("--file", str(rules))
    reason = ("--reason", NAME)
    return {
        "demo": [Run(("demo", "--docs", "3", "--dir", nowhere), term="dumb")],
        "up": [Run(("up", "--detach", "--dir", nowhere))],
        "down": [Run(("down", "--dir", nowhere))],
        "status": [Run(("status", "--dir", nowhere))],
        "env": [Run(("env",), shows=False), Run(("env", "--dir", NAME))],
        "doc": [
            Run(("doc", NAME)),
            Run(("doc", NAME, "--json")),
            Run(("doc", NAME + "x", "--pipeline", NAME)),
            Run(("doc", NAME, "--after", NAME)),
        ],
        "errors": [
            Run(("errors",)),
            Run(("errors", "--stalled")),
            Run(("errors", "--group")),
            Run(("errors", "--json")),
            Run(("errors", "--since", NAME)),
            Run(("errors", "--pipeline", NAME + "x")),
            Run(("errors", "--dir", NAME)),
            Run(("errors", f"--{NAME}")),
        ],
        "failing": [
            Run(("failing",)),
            Run(("failing", "--json")),
            Run(("failing", "--by-step")),
            Run(("failing", "--step", NAME + "x")),
            Run(("failing", "--status", NAME)),
        ],
        "in-progress": [Run(("in-progress",)), Run(("in-progress", "--stalled"))],
        "documents": [
            Run(("documents",)),
            Run(("documents", "--prefix", NAME, "--by-name")),
            Run(("documents", "--pipeline", NAME + "x")),
        ],
        "search": [Run(("search", NAME[:20])), Run(("search", NAME, "--kind", NAME))],
        "steps": [Run(("steps",)), Run(("steps", "--since", NAME))],
        "throughput": [Run(("throughput",), shows=False), Run(("throughput", "--bucket", NAME))],
        "waits": [Run(("waits",), shows=False), Run(("waits", "--pipeline", NAME + "x"))],
        "losses": [Run(("losses", "--all"), shows=False), Run(("losses", "--pipeline", NAME + "x"))],
        "export": [
            Run(("export", "events")),
            Run(("export", "events", "--format", "csv")),
            Run(("export", "failing", "--format", "csv")),
            Run(("export", NAME)),
            Run(("export", "events", "-o", nowhere)),
        ],
        "schema": [Run(("schema", "failing"), shows=False), Run(("schema", NAME))],
        "completion": [Run(("completion", "zsh"), shows=False), Run(("completion", NAME))],
        "groups": [Run(("groups",)), Run(("groups", "--state", NAME))],
        "groups show": [Run(("groups", "show", GROUP_ID[:8])), Run(("groups", "show", NAME))],
        "groups resolve": [
            Run(("groups", "resolve", GROUP_ID, *reason)),
            Run(("groups", "resolve", GROUP_ID, "--yes")),
        ],
        "groups reopen": [Run(("groups", "reopen", GROUP_ID, *reason)), Run(("groups", "reopen", GROUP_ID, "--yes"))],
        "groups mute": [Run(("groups", "mute", GROUP_ID, *reason)), Run(("groups", "mute", GROUP_ID, "--yes"))],
        "groups rule": [Run(("groups", "rule", "--new-for", NAME))],
        "incomplete": [Run(("incomplete",)), Run(("incomplete", "--pipeline", NAME + "x"))],
        "expect": [
            Run(("expect", "--list")),
            Run(("expect", NAME + "2", NAME)),
            Run(("expect", NAME + "2", NAME, "--yes")),
            Run(("expect", NAME)),
        ],
        "sql": [
            Run(("sql", "SELECT pipeline, doc_id, error_message, details AS `a\x1b]52;c;eA==\x07` FROM steps")),
            Run(("sql", "SELECT doc_id FROM steps", "--csv")),
            Run(("sql", "SELECT doc_id FROM steps", "--json")),
            Run(("sql", f"SELECT throwIf(1, '{NAME.replace(chr(92), chr(92) * 2)}')")),
        ],
        "health": [Run(("health",)), Run(("health", "--pipeline", NAME, "--step", NAME))],
        "health replay": [Run(("health", "replay", "--since", NAME))],
        "health rules check": [Run(("health", "rules", "check", str(rules)))],
        "health rules show": [Run(("health", "rules", "show", "-p", NAME, "-s", NAME))],
        "health rules set": [
            Run(("health", "rules", "set", "-p", NAME, "errors.bad=0.3", *file)),
            Run(("health", "rules", "set", NAME, *file)),
        ],
        "health rules pin": [Run(("health", "rules", "pin", "-s", NAME, "--deadline-s", "9", *file))],
        "health rules silence": [Run(("health", "rules", "silence", NAME, *file))],
        "emitters": [
            Run(("emitters",), shows=False),
            Run(("emitters", "-p", NAME), shows=False),
            Run(("emitters", "--since", NAME)),
        ],
        "run spool": [Run(("run", "spool", NAME), shows=True), Run(("run", "spool", "--once", NAME))],
        "lag": [Run(("lag",), shows=False), Run(("lag", "--dir", NAME))],
        "alerts list": [Run(("alerts", "list"))],
        "alerts silences": [Run(("alerts", "silences"))],
        "alerts silence": [Run(("alerts", "silence", "-p", NAME, "--for", NAME, *reason))],
        "alerts expire": [Run(("alerts", "expire", NAME))],
        "alerts test": [Run(("alerts", "test", NAME, "--file", nowhere))],
        "alerts check": [Run(("alerts", "check", str(alerts)), shows=False), Run(("alerts", "check", nowhere))],
        "dlq list": [Run(("dlq", "list")), Run(("dlq", "list", "--state", NAME))],
        "dlq show": [
            Run(("dlq", "show", PLACE, "--full")),
            Run(("dlq", "show", PLACE, "--raw"), shows=False),
            Run(("dlq", "show", *one)),
        ],
        "dlq redrive": [Run(("dlq", "redrive", "--dry-run", "--offset", NAME))],
        "dlq drop": [Run(("dlq", "drop", "--dry-run", NAME))],
        "retention": [Run(("retention",)), Run(("retention", "--json"))],
        "retention set": [
            Run(("retention", "set", NAME, "90d", *reason)),
            Run(("retention", "set", NAME + "x", "90d")),
            Run(("retention", "set", NAME, NAME)),
        ],
        "retention default": [Run(("retention", "default", NAME))],
        "retention hold": [Run(("retention", "hold", NAME + "x"))],
        "retention release": [Run(("retention", "release", NAME))],
        "retention apply": [Run(("retention", "apply"))],
        "erase": [
            Run(("erase", NAME, NAME)),
            Run(("erase", NAME, NAME + "x")),
            Run(("erase", NAME, "--from", nowhere)),
            Run(("erase", "--list"), shows=False),
        ],
        "rebuild": [Run(("rebuild",), shows=False), Run(("rebuild", NAME))],
        "rebuild start": [
            Run(("rebuild", "start", "--pipelines", NAME)),
            Run(("rebuild", "start", "--since", NAME)),
        ],
        "rebuild diff": [Run(("rebuild", "diff"), shows=False)],
        "rebuild exchange": [Run(("rebuild", "exchange"), shows=False)],
        "rebuild back": [Run(("rebuild", "back"), shows=False)],
        "rebuild drop": [Run(("rebuild", "drop"), shows=False)],
        "backup": [Run(("backup", "--list"), shows=False), Run(("backup", "--to", NAME))],
        "restore": [Run(("restore", NAME)), Run(("restore", "nothing-there"), shows=False)],
        "run projector": [Run(("run", "projector"), shows=False, stopped_at=b"\n"), Run(("run", NAME))],
        "run health": [
            Run(("run", "health"), shows=False, stopped_at=b"\n"),
            Run(("run", "health", "--rules", nowhere), stopped_at=b"c;eA"),
        ],
        "run alerts": [Run(("run", "alerts", "--file", nowhere))],
        "run web": [
            Run(("run", "web", "--port", "0", "--tokens", nowhere)),
            Run(("run", "web", "--new-token", NAME, "--tokens", str(alerts))),
        ],
        "topics": [Run(("topics",), shows=False), Run(("topics", "--dir", NAME))],
        "migrate": [Run(("migrate",), shows=False), Run(("migrate", "--dir", NAME))],
        "shards": [Run(("shards",), shows=False), Run(("shards", "--dir", NAME))],
        "acls": [
            Run(("acls",), shows=False),
            Run(("acls", "--principal", f"emitter=User:{NAME}")),
            Run(("acls", "--role", NAME)),
        ],
        "grants": [Run(("grants",), shows=False), Run(("grants", "--analyst", "a", "--pipelines", NAME))],
    }  # fmt: skip


COMMANDS = sorted(commands(get_command(build([]))))


def test_the_command_lines_are_of_commands_that_there_are(tmp_path: Path) -> None:
    """A command without lines of its own is tried as it is, and with an option that it does not have."""
    assert set(_runs(tmp_path)) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_text_from_outside_reaches_the_terminal_as_it_is(
    command: str, settings: Settings, cli: WarmCli, tmp_path: Path
) -> None:
    """Only text, line ends and our own styles; what is hostile is seen instead."""
    environ = environ_of(settings, HOME=str(tmp_path), STEPTRAIL_DIR=str(tmp_path))
    words = command.split()
    usual = [Run((*words,), shows=False), Run((*words, f"--{NAME}"))]
    for run in _runs(tmp_path).get(command, usual):
        written = on_terminal(cli, run, environ)
        assert unwanted(written) == [], run
        seen = re.sub(rb"\x1b\[[0-9;]*m|\s", b"", written)
        assert written.strip(), run
        assert SHOWN.search(seen) or not run.shows, (run, written)
