"""Restores that are refused, cut off, or find less than they need; each says so, and leaves nothing half done."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.deploy.terminal.failures import OK
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.lifecycle.backing_up import create
from steptrail.projections.lifecycle.backups import BackupRefused, Target
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.backing_up import Destroyable, destroyable, ok, refused
from support.command_line import Command, command_line
from support.consumed import event_value
from support.engine import running_engine
from support.projecting import Projected, produce, projecting
from support.rebuilding import require_exact
from support.stack import Stack, environ_of
from support.waiting import until

EVENTS = 300


@pytest.fixture(scope="module")
def kept(stack: Stack) -> Iterator[Destroyable]:
    """A store with some events, of which there is a backup `kept`; tests leave it as they found it, or destroyed."""
    with destroyable(stack) as world:
        produce(world.settings, (event_value(doc_id=f"doc-{n}") for n in range(EVENTS)))
        with projecting(world.settings):
            until(lambda: Projected(world.store).count() == EVENTS, "projected events")
        create(world.store, Target("kept"), topics="{}", by="me")
        yield world


@pytest.fixture
def command(kept: Destroyable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    return command_line(kept.settings, monkeypatch, capfd)


def places(world: Destroyable) -> set[tuple[int, int]]:
    """Where the events are: partitions by turns."""
    return {
        (n % world.settings.steps_partitions, n // world.settings.steps_partitions) for n in range(EVENTS)
    }


def tables(store: ClickHouse) -> list[str]:
    """Tables and views that there are."""
    return [
        str(name)
        for (name,) in store.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    ]


def test_what_cannot_be_done_is_refused_with_the_remedy(kept: Destroyable, command: Command) -> None:
    """A store that is not empty, consumers that run, a backup that is not there, is there already, is newer."""
    ok(command, "restore", "kept")
    kept.engine.ask("DROP DATABASE IF EXISTS steptrail SYNC", database="system")
    ok(command, "restore", "kept", "--yes")
    before = Projected(kept.store).offsets()
    error = refused(command, "restore", "kept", "--yes")
    assert "the store is not empty" in error
    assert "another database" in error
    assert "there is no whole backup at nothing-there" in refused(command, "restore", "nothing-there")
    assert "kept exists already" in refused(command, "backup", "--to", "kept")
    assert "is no place for a backup" in refused(command, "backup", "--to", "../kept")
    kept.store.command("ALTER TABLE backups UPDATE migration = 9999 WHERE 1", settings={"mutations_sync": 2})
    kept.engine.ask("BACKUP TABLE steptrail.backups TO Disk('backups', 'newer')")
    kept.destroy()
    assert "the backup has migration 9999" in refused(command, "restore", "newer", "--yes")
    with projecting(kept.settings):
        until(lambda: ok(command, "restore", "kept")["running"], "a member of the group")
        assert "consumers run" in refused(command, "restore", "kept", "--yes")
    assert tables(kept.store) == []
    ok(command, "restore", "kept", "--yes")
    assert Projected(kept.store).offsets() == before


def damage(file: Path, how: str) -> None:
    """Shorten a file, change one byte of it, or take it away."""
    if how == "gone":
        file.unlink()
    elif how == "short":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "pattern"),
    [
        ("gone", ".backup"),
        ("short", "data/steptrail/steps/*/data.bin"),
        ("changed", "data/steptrail/steps/*/data.bin"),
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_the_store_empty(
    kept: Destroyable, command: Command, how: str, pattern: str
) -> None:
    """Cut off before its end, a file too short, a byte changed; a whole copy of it is restored afterwards."""
    copy = kept.backups / f"copy-{how}"
    shutil.copytree(kept.backups / "kept", copy)
    damage(next(iter(copy.glob(pattern))), how)
    kept.engine.ask("DROP DATABASE IF EXISTS steptrail SYNC", database="system")
    assert copy.name in refused(command, "restore", copy.name, "--yes")
    assert tables(kept.store) == []
    ok(command, "restore", "kept", "--yes")
    assert Projected(kept.store).count() == EVENTS


def test_a_restore_that_was_killed_begins_anew(kept: Destroyable, command: Command) -> None:
    """Killed while tables are there and claims are not yet: until then no consumer may use the store."""
    kept.engine.ask("DROP DATABASE IF EXISTS steptrail SYNC", database="system")
    process = subprocess.Popen(
        [sys.executable, "-m", "steptrail.deploy.cli", "restore", "kept", "--yes"],
        env=environ_of(kept.settings),
    )
    kept.engine.ask("CREATE DATABASE IF NOT EXISTS steptrail", database="system")
    until(lambda: "restoring" in tables(kept.store) or process.poll() is not None, "the restore")
    process.kill()
    process.wait()
    if "schema_migrations" not in tables(kept.store):
        assert "restoring" in tables(kept.store)
        ok(command, "restore", "kept", "--yes")
    assert "restoring" not in tables(kept.store)
    with projecting(kept.settings):
        require_exact(kept.store, places(kept))


def test_what_kafka_has_let_go_of_is_counted_before_and_recorded_after(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By partition, in the dry run; what is left is there once, also in partitions of which the backup had nothing."""
    with destroyable(stack) as world:
        settings, store = world.settings, world.store
        run = command_line(settings, monkeypatch, capfd)
        produce(settings, (event_value(doc_id=f"doc-{n}") for n in range(60)))
        with projecting(settings):
            until(lambda: Projected(store).count() == 60, "projected events")
            ok(run, "backup", "--to", f"gone-{settings.topic_prefix}")
            produce(settings, (event_value(doc_id=f"more-{n}") for n in range(120)))
            until(lambda: Projected(store).count() == 180, "projected events")
        topic = Topics(settings.topic_prefix).steps.name
        admin = AdminClient(settings.kafka_config())
        for future in admin.delete_records(
            [TopicPartition(topic, 0, 15), TopicPartition(topic, 1, 5)]
        ).values():
            future.result(60)
        admin.delete_topics([Topics(settings.topic_prefix).silences.name])[
            Topics(settings.topic_prefix).silences.name
        ].result(60)
        world.destroy()
        told = ok(run, "restore", f"gone-{settings.topic_prefix}")
        steps = {each["partition"]: each for each in told["catch_up"] if each["projection"] == "steps"}
        assert {p: (each["gone"], each["left"]) for p, each in steps.items() if each["gone"]} == {0: (5, 15)}
        code, out, _ = run("restore", f"gone-{settings.topic_prefix}")
        assert (code, "5 offsets, 10 to 14, are gone" in " ".join(out.split())) == (OK, True)
        made = ok(run, "restore", f"gone-{settings.topic_prefix}", "--topics", "--yes")
        outcomes = {each["topic"].split(".", 1)[1]: each["outcome"] for each in made["topics"]}
        assert (outcomes["silences.v1"], outcomes["steps.v1"]) == ("created", "unchanged")
        with projecting(settings):
            lost = {(0, offset) for offset in range(10, 15)}
            require_exact(store, {(n % 6, n // 6) for n in range(180)} - lost)
        assert store.query(
            "SELECT partition, first_offset, last_offset FROM topic_gaps FINAL WHERE projection_name = 'steps'"
        ) == [(0, 10, 14)]


def test_a_full_disk_is_noticed_before_anything_is_written(stack: Stack) -> None:
    """The message says how much room there is; no folder is left."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-full-"))
    try:
        backups = ("--backups", str(folder / "backups"))
        for keep_free, full in ((0, False), (1 << 50, True)):
            with running_engine(folder, *backups, "--keep-free", str(keep_free)) as engine:
                url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/steptrail"
                with connect(Settings(kafka=stack.kafka, clickhouse=url)) as store:
                    if not full:
                        migrate(store)
                        continue
                    with pytest.raises(BackupRefused, match=r"has room for 0\.0 MB"):
                        create(store, Target("full"), topics="{}", by="me")
                    assert list((folder / "backups").iterdir()) == []
                    assert store.query("SELECT count() FROM backups") == [(0,)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
