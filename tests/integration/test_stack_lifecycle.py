"""The local stack as a whole: started, crashed, killed and started again, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from steptrail.deploy.stack import down, stack_status, up
from steptrail.deploy.stack.folder import StackRunningError, read_json
from steptrail.deploy.stack.jars import JarMismatchError, ensure_jars
from steptrail.deploy.stack.status import PartStatus
from steptrail.deploy.stack.supervisor import StackStartError
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings, read_stack_file
from steptrail.schemas.topics import Topics
from support.effort import ONLY_IN_TEST_ALL
from support.waiting import until


def start(folder: Path, **options: bool) -> Settings:
    assert up(folder, detach=True, json_output=True, any_port=True, **options) == 0
    return settings_of(folder)


def settings_of(folder: Path) -> Settings:
    found = read_stack_file(folder)
    assert found is not None
    return Settings(kafka=found.kafka, clickhouse=found.clickhouse)


def part(folder: Path, name: str) -> PartStatus:
    (found,) = [each for each in stack_status(folder).parts if each.name == name]
    return found


def processes(folder: Path) -> list[psutil.Process]:
    """The supervisor and everything below it."""
    pid = stack_status(folder).pid
    assert pid is not None
    supervisor = psutil.Process(pid)
    return [supervisor, *supervisor.children(recursive=True)]


def alive(found: list[psutil.Process]) -> list[psutil.Process]:
    # What init has not collected yet is dead all the same.
    return [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    """A folder for all tests of this module; what runs there in the end is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-own-"))
    try:
        yield folder
    finally:
        down(folder)
        shutil.rmtree(folder)


@pytest.fixture
def own_stack(used_folder: Path) -> Path:
    """The folder of a running stack that the test may hurt; one that an earlier test ended is started again."""
    if not stack_status(used_folder).ready:
        start(used_folder)
    return used_folder


def test_status_tells_every_part(own_stack: Path) -> None:
    """`status --json` has the whole, each part's pid, state, restarts, uptime and address, and no password."""
    told = stack_status(own_stack).as_dict()
    password = (own_stack / "clickhouse-password").read_text().strip()
    assert password not in json.dumps(told)
    assert (told["running"], told["ready"], told["failure"]) == (True, True, None)
    assert {each["name"] for each in told["parts"]} == {"broker", "engine", "projector", "health", "web"}
    for each in told["parts"]:
        assert psutil.pid_exists(each["pid"])
        assert each["state"] == "ready"
        assert each["uptime_s"] >= 0
        assert "127.0.0.1:" in each["address"]


def test_the_addresses_are_the_owners_secret(own_stack: Path) -> None:
    """stack.json, which holds the password, can be read by its owner alone."""
    assert stat.S_IMODE((own_stack / "stack.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(own_stack.stat().st_mode) == 0o700


def test_everything_listens_on_loopback(own_stack: Path) -> None:
    """No process of the stack has a listener that another machine could reach."""
    listening = [
        connection.laddr.ip
        for process in processes(own_stack)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_folder_has_one_stack(own_stack: Path) -> None:
    """A second `up` on the folder is refused, says which stack has it, and leaves that one alone."""
    pid = stack_status(own_stack).pid
    with pytest.raises(StackRunningError, match=rf"a stack runs in {own_stack} already \(supervisor {pid}\)"):
        up(own_stack, detach=True)
    with pytest.raises(StackRunningError):
        up(own_stack)
    assert stack_status(own_stack).ready
    assert stack_status(own_stack).pid == pid


@pytest.mark.parametrize(
    "name",
    [
        "broker",
        "engine",
        "projector",
        *(pytest.param(name, marks=ONLY_IN_TEST_ALL) for name in ("health", "web")),
    ],
)
def test_a_killed_part_comes_back(own_stack: Path, name: str) -> None:
    """A part that is killed is started again at its address; the crash is said in the log and counted."""
    before = part(own_stack, name)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: part(own_stack, name).restarts == before.restarts + 1 and stack_status(own_stack).ready)
    after = part(own_stack, name)
    assert after.address == before.address
    assert after.pid != before.pid
    assert after.last_exit == "killed by SIGKILL"
    assert (
        f"{name} ended (killed by SIGKILL); starting it again"
        in (own_stack / "logs/supervisor.log").read_text()
    )
    settings = settings_of(own_stack)
    with connect(settings) as clickhouse:
        clickhouse.ping()
    assert (
        Topics.from_settings(settings).steps.name
        in AdminClient(settings.kafka_config()).list_topics(timeout=30).topics
    )


def test_data_outlives_a_restart(own_stack: Path) -> None:
    """After `down` and `up` messages and rows are still there, and so are the ports, unless one was taken."""
    first = settings_of(own_stack)
    topic = Topics.from_settings(first).dlq.name
    producer = Producer(first.kafka_config())
    producer.produce(topic, b"kept", partition=0)
    assert producer.flush(30) == 0
    with connect(first) as clickhouse:
        clickhouse.command("CREATE TABLE kept (word String) ENGINE = MergeTree ORDER BY word")
        clickhouse.command("INSERT INTO kept VALUES ('kept')")
    assert down(own_stack)
    assert read_stack_file(own_stack) is None
    assert not down(own_stack)

    kafka_port = int(first.kafka.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", kafka_port)):
        start(own_stack)
    second = settings_of(own_stack)
    assert second.kafka != first.kafka
    assert second.clickhouse == first.clickhouse
    with connect(second) as clickhouse:
        assert clickhouse.query("SELECT word FROM kept") == [("kept",)]
    assert high_water(second, topic, 0) == 1


def test_nothing_outlives_a_killed_supervisor(own_stack: Path) -> None:
    """After kill -9 of the supervisor no process of the whole stack is left, and the folder is free again."""
    found = processes(own_stack)
    assert len(found) >= 6  # the supervisor, its watchdog and four parts
    found[0].kill()
    until(lambda: alive(found) == [], "end of all of them")
    status = stack_status(own_stack)
    assert (status.running, status.ready) == (False, False)
    assert {each.state for each in status.parts} == {"stopped"}
    assert not down(own_stack)


def test_in_the_foreground_ctrl_c_stops_everything(used_folder: Path) -> None:
    """`steptrail up --json` prints one JSON line when ready, says what happens on stderr, and ends at Ctrl-C."""
    down(used_folder)
    command = [sys.executable, "-m", "steptrail.deploy.cli", "up", "--dir", str(used_folder), "--json"]
    with subprocess.Popen(
        [*command, "--any-port", "--no-projector"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        found = processes(used_folder)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=300)
    assert set(ready) == {"kafka", "clickhouse", "dir"}
    assert (process.returncode, rest) == (0, "")
    assert "steptrail: broker ready at " in said
    assert alive(found) == []


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When a part cannot start the error shows its last words, and the parts that could are ended."""
    folder = tmp_path / "foreign"
    meta = folder / "kafka/data/meta.properties"
    meta.parent.mkdir(parents=True)
    meta.write_text("version=1\ncluster.id=WFhYWFhYWFhYWFhYWFhYWA\nnode.id=7\n")
    with pytest.raises(
        StackStartError, match=r"(?s)the broker could not be started \(exit code 1\).*node id 7"
    ):
        up(folder, detach=True, any_port=True, with_projector=False)
    assert not stack_status(folder).running
    assert "the broker could not be started" in str(read_json(folder / "status.json")["failure"])
    commands = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(folder) in command]


def test_a_changed_jar_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a cached jar is not the locked one, `up` names it and starts nothing."""
    kept = {path.name: path for path in ensure_jars()}
    cache = tmp_path / "steptrail" / next(iter(kept.values())).parent.name
    cache.mkdir(parents=True)
    for name, path in kept.items():
        (cache / name).symlink_to(path)
    changed = cache / next(name for name in kept if name.startswith("kafka_"))
    changed.unlink()
    changed.write_bytes(kept[changed.name].read_bytes() + b"\0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(JarMismatchError, match=rf"{changed} is not the jar .* Nothing was started"):
        up(tmp_path / "stack", detach=True, any_port=True)
    assert stack_status(tmp_path / "stack").parts == ()


def high_water(settings: Settings, topic: str, partition: int) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**settings.kafka_config(), "group.id": "test"})
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        return int(high)
    finally:
        consumer.close()
