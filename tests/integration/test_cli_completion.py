"""What shells are offered: commands, options, and names from the store, none of which a shell would evaluate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steptrail.producers import ProcessingStepManager
from steptrail.projections import open_storage
from steptrail.schemas.configuration.settings import Settings
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import projecting
from support.stack import Stack, environ_of, new_workspace

HOSTILE = [
    "in$(touch owned)", "in`touch owned`", "in;touch owned", "in' ; touch owned ; '", 'in"', "in\\", "in voices",
    "in*", "in\nvoices", "in)", "in\x1b[2J", "in\u202evoices", "in:voices", "in{a,b}", "in~",
]  # fmt: skip


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """Pipelines and documents with good names and with bad ones."""
    with new_workspace(stack) as settings, projecting(settings):
        names = ("invoices", "letters", *HOSTILE)
        managers = [ProcessingStepManager(open_storage(settings, pipeline=name)) for name in names]
        for name, manager in zip(names, managers, strict=True):
            manager.add_step(f"{name}-17", "ocr", "ERROR", error_message="$(touch owned)'\"\\")
            manager.add_step("請求書/42.pdf", f"store-{name}", "RUNNING")
        for manager in managers:
            with manager:
                assert manager.flush(30) == 0
                assert manager.wait_projected(60)
        yield settings


@pytest.fixture
def bash(settings: Settings, tmp_path: Path) -> Iterator[Bash]:
    yield Bash(environ_of(settings), tmp_path)
    assert os.listdir(tmp_path) == ["bin"], "nothing was evaluated"


class Bash:
    """A bash with the completion of `steptrail`, as `steptrail completion bash` writes it."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        program = folder / "bin" / "steptrail"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -m steptrail.deploy.cli "$@"\n', encoding="utf-8"
        )
        program.chmod(0o755)
        self.environ = environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
        self.folder = folder

    def offers(self, *words: str) -> list[str]:
        """For the last of the words, which may be empty."""
        script = (
            'source /dev/stdin <<< "$(steptrail completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_steptrail_completion steptrail; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-c", script, "bash", "steptrail", *words],
            env=self.environ, cwd=self.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if line]


@ONLY_IN_TEST_ALL
def test_commands_and_options(bash: Bash) -> None:
    """By what they begin with; a command that is typed whole does not hide a longer one."""
    assert bash.offers("fail") == ["failing"]
    assert bash.offers("doc") == ["doc", "documents"]
    assert bash.offers("dlq", "re") == ["redrive"]
    assert set(bash.offers("failing", "--p")) == {"--pipeline"}
    assert bash.offers("export", "e") == ["events", "errors", "executions", "error-groups", "emitters"]
    assert bash.offers("documents", "--status", "f") == ["failed"]


def test_a_document_by_its_beginning(bash: Bash) -> None:
    """As the store knows it, and only names that are safe to type."""
    assert bash.offers("doc", "in") == ["invoices-17"]


@ONLY_IN_TEST_ALL
def test_names_from_the_store(bash: Bash) -> None:
    """Pipelines, steps of a pipeline, documents by their beginning, error groups; only names that are safe to type."""
    assert bash.offers("failing", "--pipeline", "in") == ["invoices"]
    assert bash.offers("failing", "-p", "invoices", "--step", "") == ["ocr", "store-invoices"]
    assert bash.offers("doc", "請") == ["請求書/42.pdf"]
    assert bash.offers("documents", "--prefix", "let") == ["letters-17"]
    assert bash.offers("expect", "le") == ["letters"]


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_zsh_and_fish_ask_for(shell: str, bash: Bash) -> None:
    """Their scripts ask in their own way; nothing hostile is in the answer, which zsh evaluates."""
    script = subprocess.run(
        ["steptrail", "completion", shell], env=bash.environ, capture_output=True, text=True, check=True
    )
    assert f"complete_{shell}" in script.stdout
    asked = {
        "_STEPTRAIL_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "steptrail doc ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(["steptrail"], env=bash.environ | asked, capture_output=True, text=True, check=True)
    assert "invoices-17" in done.stdout
    assert "touch" not in done.stdout
    assert "\x1b" not in done.stdout


@ONLY_IN_TEST_ALL
def test_a_store_that_is_away_offers_nothing(bash: Bash) -> None:
    """And says nothing: a shell has no place for it."""
    bash.environ["STEPTRAIL_CLICKHOUSE"] = "http://127.0.0.1:1/steptrail"
    assert bash.offers("failing", "--pipeline", "in") == []
    assert bash.offers("failing", "--js") == ["--json"]
