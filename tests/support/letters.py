"""Dead letters put on the topic as another version's projector would have, and commands run on them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from confluent_kafka import Message

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter, DeadLetters
from steptrail.consumers.ingest.finding import as_letter
from steptrail.deploy.cli.main import run
from steptrail.schemas import DecodeReason, EventDecodeError, Settings, Topics
from support.stack import environ_of

FIRST_OFFSET = 1_000_000
"""Where these letters say that they were read from: behind whatever a test puts on the steps topic."""


def set_aside(
    settings: Settings,
    values: Sequence[bytes],
    *,
    topic_id: str = "",
    partition: int = 2,
    headers: list[tuple[str, str | bytes | None]] | None = None,
    first: int = FIRST_OFFSET,
) -> None:
    """Have `values` set aside for an unknown schema, each at an offset of its own."""
    topics = Topics(settings.topic_prefix)
    letters = []
    for offset, value in enumerate(values, first):
        message = Message(
            topic=topics.steps.name,
            partition=partition,
            offset=offset,
            key=b"default/doc-1",
            value=value,
            headers=headers,
            timestamp=(2, 1_760_000_000_000),
        )
        error = EventDecodeError(DecodeReason.UNKNOWN_SCHEMA, "an older version did not know it", position=2)
        letters.append(as_letter(message, error))
    bury(settings, letters, topic_id)


def bury(settings: Settings, letters: Sequence[DeadLetter], topic_id: str = "") -> None:
    """Send letters as a projector does."""
    dead_letters = DeadLetters(
        settings.kafka_config(), Topics(settings.topic_prefix).dlq.name, connector="older", task="1"
    )
    dead_letters.send(letters, topic_id or None)
    dead_letters.close(1.0)


def dlq_process(settings: Settings, *argv: str) -> subprocess.Popen[str]:
    """`steptrail dlq …` as a process of its own, which can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "steptrail.deploy.cli", "dlq", *argv],
        env=environ_of(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def dlq_text(settings: Settings, *argv: str) -> tuple[int, str, str]:
    """Run `steptrail dlq …` in this process: its exit code and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environ_of(settings), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(["dlq", *argv])
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def dlq(settings: Settings, *argv: str, code: int = 0) -> Any:
    """Run `steptrail dlq … --json`: what it says, a list of all lines for `list`."""
    found, out, err = dlq_text(settings, *argv, "--json")
    assert found == code, err
    told = [json.loads(line) for line in out.splitlines()]
    return told if argv[0] == "list" else told[0]
