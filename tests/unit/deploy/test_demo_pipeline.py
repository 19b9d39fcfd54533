import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steptrail.deploy.demo.pipeline import STEPS, process
from steptrail.deploy.demo.run import DemoResult
from steptrail.deploy.demo.summary import RunSummary
from steptrail.deploy.demo.workers import WorkerFailed, run_workers
from steptrail.producers import InMemoryStorage, ProcessingStepManager

Story = list[tuple[str, str]]


def story(path: Path, data: "bytes | None") -> Story:
    """Steps and statuses of one document, in order, without the RUNNING that comes before each ending."""
    if data is not None:
        path.write_bytes(data)
    manager = ProcessingStepManager(InMemoryStorage(pipeline="demo"))
    process(manager, str(path), run="r")
    steps = manager.get_steps(str(path))
    assert [step.status.value for step in steps[::2]] == ["RUNNING"] * (len(steps) // 2)
    assert {step.step_name for step in steps} <= set(STEPS)
    return [(step.step_name, step.status.value) for step in steps[1::2]]


def test_a_python_file_goes_all_the_way(tmp_path: Path) -> None:
    """A sound document passes every step that suits it."""
    assert story(tmp_path / "a.py", b"def twice(value): return 2 * value\n") == [
        ("read", "SUCCESS"),
        ("detect", "SUCCESS"),
        ("decode", "SUCCESS"),
        ("extract_text", "SUCCESS"),
        ("count_terms", "SUCCESS"),
        ("parse", "SUCCESS"),
    ]


def test_a_compressed_text_in_an_old_encoding(tmp_path: Path) -> None:
    """What is inside is detected anew; the failed decoding is an ERROR and its retry a SUCCESS."""
    told = story(tmp_path / "a.txt.gz", gzip.compress("naïve café words".encode("latin-1")))
    assert told[2:6] == [
        ("decompress", "SUCCESS"),
        ("detect_inside", "SUCCESS"),
        ("decode", "ERROR"),
        ("decode", "SUCCESS"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "ending"),
    [
        ("missing.txt", None, ("read", "FAILED")),
        ("large.txt", b"x" * 600_000, ("read", "SKIPPED")),
        ("empty.txt", b"", ("detect", "SKIPPED")),
        ("cut.gz", gzip.compress(os.urandom(500))[:300], ("decompress", "FAILED")),
        ("broken.zip", b"PK\x03\x04 no", ("unpack", "FAILED")),
        ("broken.png", b"\x89PNG\r\n\x1a\n no", ("measure_image", "FAILED")),
        ("broken.py", b"def f(:", ("parse", "FAILED")),
        ("broken.json", b"{", ("parse", "FAILED")),
    ],
)
def test_where_a_bad_document_ends(
    tmp_path: Path, name: str, data: "bytes | None", ending: "tuple[str, str]"
) -> None:
    """A document that is broken or unsuitable ends at the step that finds it, and nothing is raised."""
    assert story(tmp_path / name, data)[-1] == ending


def test_a_name_that_lies_is_a_warning(tmp_path: Path) -> None:
    """The document goes on as what it is."""
    told = story(tmp_path / "a.png", b"<html>words and more words</html>")
    assert told[1] == ("detect", "WARNING")
    assert told[-1] == ("count_terms", "SUCCESS")


def test_a_worker_that_dies_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a report is a failure of the run, which leaves no process behind."""
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def dying(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        script = "import sys; sys.stdin.read(); print('{\"done\": 1}'); sys.exit('no more paper')"
        started.append(popen([sys.executable, "-c", script], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", dying)
    progress: list[int] = []
    with pytest.raises(WorkerFailed, match=r"exit code 1\)(.|\n)*no more paper"):
        run_workers({"pipeline": "demo", "run": "r"}, ["a", "b"], 2, progress.append)
    assert progress
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


@pytest.mark.parametrize(
    ("emitted", "delivered", "projected", "documents", "agree"),
    [(9, 9, 9, 2, True), (9, 8, 8, 2, False), (9, 9, 8, 2, False), (9, 9, 9, 1, False), (0, 0, 0, 2, False)],
)
def test_when_the_numbers_agree(
    emitted: int, delivered: int, projected: int, documents: int, agree: bool
) -> None:
    """All three are the same and not nothing, and every document is there."""
    summary = RunSummary(documents, projected, [], [], None, projected, documents)
    result = DemoResult("r", 1, 2, emitted, delivered, {}, summary, 1.0, 0.5)
    assert result.agree is agree
