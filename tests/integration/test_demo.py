"""The demonstration, run as a user runs it, with few documents, on a stack of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.effort import ONLY_IN_TEST_ALL

DOCS = 120


def steptrail(*argv: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STEPTRAIL_")}
    # What a user has in the environment for a Kafka of their own must not lead the demonstration there.
    environ |= {"STEPTRAIL_KAFKA": "127.0.0.1:1", "STEPTRAIL_CLICKHOUSE": "http://nobody:pw@127.0.0.1:1/x"}
    command = [sys.executable, "-m", "steptrail.deploy.cli", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("demo")
    yield path
    steptrail("down", "--dir", str(path))


@pytest.fixture(scope="module")
def first(own_stack: Path) -> dict[str, Any]:
    """A first run, which leaves its stack running."""
    done = steptrail(
        "demo", "--keep", "--docs", str(DOCS), "--workers", "3", "--dir", str(own_stack), "--json"
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_three_numbers_agree(first: dict[str, Any]) -> None:
    """What the workers emitted was delivered and projected, to the last event, for every document."""
    assert first["agree"] is True
    assert first["emitted"] == first["delivered"] == first["projected"] > 4 * DOCS
    assert first["documents"] == first["documents_projected"] == DOCS
    assert first["lost"] == {}
    assert first["store"]["events"] == first["emitted"]
    assert first["workers"] == 3


def test_every_step_and_every_kind_of_ending_occurs(first: dict[str, Any]) -> None:
    """The pipeline's steps all run, with successes, errors, failures and skips, and each ended once."""
    by_step = {row["step_name"]: row for row in first["steps"]}
    assert {"read", "detect", "decode", "extract_text", "parse", "count_terms"} <= set(by_step)
    assert by_step["read"]["failed"] >= 1, "the missing file"
    assert by_step["read"]["skipped"] >= 1, "the files that are too large"
    assert by_step["decode"]["error"] >= 1, "the texts that are not UTF-8"
    assert by_step["parse"]["failed"] >= 1, "the syntax errors"
    endings = ("success", "warning", "error", "failed", "skipped")
    assert sum(by_step["read"][ending] for ending in endings) == DOCS
    assert all(row["p50_ms"] <= row["p95_ms"] for row in first["steps"])
    assert {"UnicodeDecodeError", "FileNotFoundError", "SyntaxError"} & {
        row["error_type"] for row in first["errors"]
    }


def test_its_store_can_be_asked(first: dict[str, Any], own_stack: Path) -> None:
    """With --keep the command line reads what the demonstration wrote, by --dir alone."""
    document = first["interesting_document"]
    told = json.loads(steptrail("doc", document, "--dir", str(own_stack), "--json").stdout)
    decode = next(state for state in told["state"] if state["step_name"] == "decode")
    assert (decode["status"], decode["attempt"], decode["executions"]) == ("SUCCESS", 2, 2)
    assert [event["status"] for event in told["timeline"] if event["step_name"] == "decode"] == [
        "RUNNING",
        "ERROR",
        "RUNNING",
        "SUCCESS",
    ]
    counted = steptrail(
        "sql", "SELECT uniqExact(event_id) AS n FROM steps", "--dir", str(own_stack), "--json"
    )
    assert json.loads(counted.stdout) == {"n": first["store"]["events"]}
    lag = json.loads(steptrail("lag", "--dir", str(own_stack), "--json").stdout)
    assert (lag["lag_events"], lag["group_state"], len(lag["members"])) == (0, "STABLE", 1)
    topics = steptrail("topics", "--dir", str(own_stack), "--json")
    assert {json.loads(line)["outcome"] for line in topics.stdout.splitlines()} == {"unchanged"}
    assert topics.returncode == 0


@ONLY_IN_TEST_ALL
def test_a_second_run_adds_to_the_same_store(first: dict[str, Any], own_stack: Path) -> None:
    """A run on a stack that is there counts its own events only, shows the store's, and leaves the stack."""
    done = steptrail("demo", "--docs", "40", "--dir", str(own_stack))
    assert done.returncode == 0, done.stderr
    assert "they agree" in done.stdout
    total = json.loads(
        steptrail(
            "sql", "SELECT uniqExact(event_id) AS n FROM steps", "--dir", str(own_stack), "--json"
        ).stdout
    )["n"]
    assert total > first["store"]["events"]
    assert f"the store holds {total:,} events" in done.stdout
    for heading in (
        "Endings by step",
        "Most common errors",
        "The three numbers",
        "Timeline",
        "What to type next",
    ):
        assert heading in done.stdout
    assert "40 of 40" in done.stderr, "progress, in plain lines where there is no terminal"
    typed = [line for line in done.stdout.partition("to type next:")[2].splitlines() if line.startswith("  ")]
    assert typed[-1] == "  steptrail down"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("STEPTRAIL_")}
    shell = ["bash", "-c", "\n".join(typed[:-1])]
    followed = subprocess.run(shell, env=bare, capture_output=True, text=True, check=False, timeout=120)
    assert "not found" not in followed.stderr
    assert "steptrail: " not in followed.stderr, "each can be typed as it stands"
    assert "damaged/missing.txt" in followed.stdout
    assert steptrail("status", "--dir", str(own_stack)).returncode == 0
    assert steptrail("down", "--dir", str(own_stack)).returncode == 0


@ONLY_IN_TEST_ALL
def test_without_keep_nothing_is_left_running(first: dict[str, Any], own_stack: Path) -> None:
    """A run that started its stack stops it again; the data stays and the numbers still agree."""
    steptrail("down", "--dir", str(own_stack))
    done = steptrail("demo", "--docs", "30", "--dir", str(own_stack), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["agree"] is True
    assert result["store"]["events"] > result["projected"]
    assert json.loads(steptrail("status", "--dir", str(own_stack), "--json").stdout)["running"] is False
    assert processes_in(own_stack) == []


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that name the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found
