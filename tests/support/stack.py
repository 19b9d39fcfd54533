"""Fixtures for tests on a real Kafka and a real ClickHouse, wherever these can be had.

`stack` takes what is there, in this order, and says what it took: the addresses in STEPTRAIL_KAFKA and
STEPTRAIL_CLICKHOUSE; containers, when a Docker engine answers; the local stack. A long-lived stack of one's own
saves the start: `steptrail up --detach --json`, then export the two variables.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from steptrail.schemas.configuration.kafka_settings import KafkaSettings
from steptrail.schemas.configuration.settings import Settings
from support.containers import docker_answers, docker_stack

Kind = Literal["environment", "docker", "local"]

_ADDRESSES = ("STEPTRAIL_KAFKA", "STEPTRAIL_CLICKHOUSE")


@dataclass(frozen=True)
class Stack:
    """Addresses of a real Kafka and a real ClickHouse; the URL holds a password and the database `steptrail`."""

    kafka: str
    clickhouse_url: str = field(repr=False)
    kind: Kind

    def settings(self, **values: Any) -> Settings:
        return Settings(kafka=self.kafka, clickhouse=self.clickhouse_url, **values)

    def database(self, name: str) -> Settings:
        """Settings by which a database of another name is reached."""
        return Settings(kafka=self.kafka, clickhouse=self.with_database(name))

    def with_database(self, name: str) -> str:
        return urlsplit(self.clickhouse_url)._replace(path=f"/{name}").geturl()


def planned_kind() -> Kind:
    """What `stack` will try first."""
    if all(os.environ.get(name) for name in _ADDRESSES):
        return "environment"
    return "docker" if docker_answers() else "local"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A real Kafka and a real ClickHouse, started once a run; says which was chosen."""

    def say(text: str) -> None:
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"integration tests: {text}")

    with ExitStack() as held:
        found = _from_environment()
        if found is None and docker_answers():
            try:
                kafka, url = held.enter_context(docker_stack())
                found = Stack(kafka, url, "docker")
            except (
                Exception
            ) as fault:  # an engine without these images is as good as none, but it must be said
                say(
                    f"Docker answers, but its containers do not start ({type(fault).__name__}: {fault})"[:500]
                )
        if found is None:
            kafka, url = held.enter_context(local_stack())
            found = Stack(kafka, url, "local")
        say(f"{found.kind} stack, Kafka at {found.kafka}, ClickHouse at {urlsplit(url_shown(found))[1]}")
        request.config.stash[CHOSEN] = found.kind
        yield found
        if found.kind != "local":
            from support.databases import drop_databases

            drop_databases(found.database)


CHOSEN = pytest.StashKey[Kind]()


@pytest.fixture
def workspace(stack: Stack) -> Iterator[Settings]:
    """Settings of a topic prefix and a database of its own on the stack, topics and tables made; dropped after."""
    with new_workspace(stack) as settings:
        yield settings


@pytest.fixture
def topics_only(stack: Stack) -> Iterator[Settings]:
    """Settings of a topic prefix of its own on the stack, topics made and no tables: those take a second to create."""
    from steptrail.schemas.topics import ensure_topics

    name = f"test_{secrets.token_hex(5)}"
    settings = stack.database(name).with_values(topic_prefix=name)
    try:
        ensure_topics(settings)
        yield settings
    finally:
        _drop_topics(settings)


@contextmanager
def new_workspace(stack: Stack, **values: Any) -> Iterator[Settings]:
    """What the fixture `workspace` does, for tests that need several or other settings."""
    from steptrail.schemas.topics import ensure_topics
    from support.databases import empty_database

    name = f"test_{secrets.token_hex(5)}"
    with empty_database(stack.database) as database:
        settings = stack.database(database).with_values(topic_prefix=name, **values)
        try:
            ensure_topics(settings)
            yield settings
        finally:
            _drop_topics(settings)


def kafka_variables(settings: Settings) -> dict[str, str]:
    """The variables by which another process reaches the same Kafka."""
    plain = {name: getattr(settings, name) for name in KafkaSettings.model_fields if name != "kafka_options"}
    return {
        f"STEPTRAIL_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in plain.items()
        if value is not None
    }


def environ_of(settings: Settings, **more: str) -> dict[str, str]:
    """The environment in which another process has these settings (the addresses, how Kafka is reached, the names)."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    return {
        **environ,
        **kafka_variables(settings),
        "STEPTRAIL_CLICKHOUSE": settings.clickhouse.get_secret_value(),
        **_servers_of(settings),
        "STEPTRAIL_TOPIC_PREFIX": settings.topic_prefix,
        "STEPTRAIL_PIPELINE": settings.pipeline,
        **more,
    }


def _servers_of(settings: Settings) -> dict[str, str]:
    if settings.clickhouse_servers is None:
        return {}
    return {
        "STEPTRAIL_CLICKHOUSE_LAYOUT": settings.clickhouse_layout,
        "STEPTRAIL_CLICKHOUSE_SERVERS": settings.clickhouse_servers.get_secret_value(),
    }


@contextmanager
def local_stack() -> Iterator[tuple[str, str]]:
    """Broker and engine without a projector, in a scratch folder, on ports of their own; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-test-"))
    command = [
        sys.executable,
        "-m",
        "steptrail.deploy.stack",
        "--dir",
        str(folder),
        "--parent",
        str(os.getpid()),
    ]
    with (folder / "supervisor-output").open("w+") as said:
        process = subprocess.Popen(
            [*command, "--no-projector", "--any-port"], stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            with process.stdout as output:
                line = output.readline()
            if not line:
                process.wait(60)
                said.seek(0)
                raise RuntimeError(f"the local stack did not start: {said.read()}")
            told = json.loads(line)
            yield told["kafka"], told["clickhouse"]
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()
                shutil.rmtree(folder, ignore_errors=True)


def url_shown(stack: Stack) -> str:
    """The ClickHouse URL without its credentials."""
    parts = urlsplit(stack.clickhouse_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _from_environment() -> Stack | None:
    kafka, clickhouse = (os.environ.get(name) for name in _ADDRESSES)
    return Stack(kafka, clickhouse, "environment") if kafka and clickhouse else None


def _drop_topics(settings: Settings) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    mine = [
        name for name in admin.list_topics(timeout=30).topics if name.startswith(f"{settings.topic_prefix}.")
    ]
    for future in admin.delete_topics(mine, operation_timeout=30).values() if mine else ():
        try:
            future.result()
        except KafkaException as fault:
            if fault.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                raise
