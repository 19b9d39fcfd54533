"""Lists that are watched: one line for each change, on a real store."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from steptrail.deploy.terminal.failures import OK
from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.schemas.configuration.settings import Settings
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import projecting
from support.proxy import Fate, store_behind_proxy
from support.stack import Stack, environ_of, new_workspace


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """A store that is written to."""
    with new_workspace(stack) as settings, projecting(settings):
        yield settings


CLI = [sys.executable, "-m", "steptrail.deploy.cli"]


@contextmanager
def watching(*argv: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command with --watch, its output in pipes."""
    with subprocess.Popen(
        [*CLI, *argv, "--watch", "--every", "200ms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        # Tests that run in a shell's background ignore Ctrl-C, and what they start does too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@ONLY_IN_TEST_ALL
def test_watching_writes_one_change_a_line_until_interrupted(settings: Settings) -> None:
    """All there is at first, then what is new, changed or gone; Ctrl-C ends it with 0."""
    manager = ProcessingStepManager(open_storage(settings, pipeline="watched"))

    def say(status: str, **more: Any) -> None:
        manager.add_step("a.pdf", "ocr", status, **more)
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)

    say("RUNNING")
    say("ERROR", error_message="first")
    with watching("failing", "--pipeline", "watched", environ=environ_of(settings)) as process:
        assert process.stdout is not None
        changes = (json.loads(line) for line in process.stdout)
        first = next(changes)
        assert (first["change"], first["item"]["error_message"]) == ("new", "first")
        assert (first["as_of"] or "Z").endswith("Z")  # a broker that is slow to answer leaves it unknown
        say("RUNNING", details={"retry_count": 1})
        assert next(changes)["change"] == "gone"
        say("ERROR", error_message="second", details={"retry_count": 1})
        again = next(changes)
        assert (again["change"], again["item"]["error_message"]) == ("new", "second")
        process.send_signal(signal.SIGINT)
        assert list(changes) == []
        assert process.wait(60) == OK
        assert process.stderr is not None
        assert process.stderr.read() == ""


@ONLY_IN_TEST_ALL
def test_watching_ends_when_its_reader_goes_away(settings: Settings) -> None:
    """As of `| head -n 1`: also when nothing changes any more."""
    with ProcessingStepManager(open_storage(settings, pipeline="waiting")) as manager:
        manager.add_step("waits.pdf", "ocr", "PENDING")
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)
    with watching("documents", "--prefix", "waits", environ=environ_of(settings)) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["item"]["doc_id"] == "waits.pdf"
        process.stdout.close()
        assert process.wait(60) == OK


@ONLY_IN_TEST_ALL
def test_watching_goes_on_when_the_store_was_away(settings: Settings) -> None:
    """It says so once on standard error, asks again, and tells what changed meanwhile."""
    manager = ProcessingStepManager(open_storage(settings, pipeline="proxied"))

    def fail(doc_id: str) -> None:
        manager.add_step(doc_id, "fetch", "FAILED")
        assert manager.flush(60) == 0
        assert manager.wait_projected(60)

    fail("first.pdf")
    with (
        store_behind_proxy(settings) as (proxied, proxy),
        watching("failing", "--pipeline", "proxied", environ=environ_of(proxied)) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["item"]["doc_id"] == "first.pdf"
        proxy.meet(Fate.REFUSE)
        assert "problem" in json.loads(process.stderr.readline())
        proxy.meet(Fate.PASS)
        fail("later.pdf")
        change = json.loads(process.stdout.readline())
        assert (change["change"], change["item"]["doc_id"]) == ("new", "later.pdf")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == OK
