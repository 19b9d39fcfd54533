import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steptrail.producers import emit_only
from steptrail.projections import open_storage
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.stack_file import (
    NoStackError,
    default_dir,
    process_lives,
    read_stack_file,
)
from steptrail.schemas.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("STEPTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STEPTRAIL_DIR", str(tmp_path))


def leave(directory: Path, **change: Any) -> Path:
    path = directory / "stack.json"
    data = {
        "kafka": "127.0.0.1:1111",
        "clickhouse": "http://default:geheim@127.0.0.1:2222/steptrail",
        "dir": str(directory),
        "pid": os.getpid(),
        **change,
    }
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    path.chmod(0o600)
    return path


def test_a_running_stack_is_found(tmp_path: Path) -> None:
    """Without any setting, the addresses are those of the stack that runs."""
    leave(tmp_path)
    settings = Settings()
    assert settings.kafka == "127.0.0.1:1111"
    assert settings.clickhouse_target().port == 2222
    found = read_stack_file()
    assert found is not None
    assert found.dir == tmp_path
    assert "geheim" not in repr(found)


def test_the_environment_wins_and_an_argument_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address is looked for by itself: argument, variable, stack, default."""
    leave(tmp_path)
    monkeypatch.setenv("STEPTRAIL_KAFKA", "elsewhere:9092")
    assert Settings().kafka == "elsewhere:9092"
    assert Settings().clickhouse_target().port == 2222
    assert Settings(kafka="here:9092").kafka == "here:9092"


def gone_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def refused(*words: str) -> str:
    """What Settings() says, which refuses."""
    with pytest.raises(NoStackError) as caught:
        Settings()
    for word in ("STEPTRAIL_DIR", "steptrail up", *words):
        assert word in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_stack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STEPTRAIL_DIR without a stack never means 127.0.0.1:9092: the error says what is missing and what to do."""
    refused(str(tmp_path), "has no stack.json", "set STEPTRAIL_CLICKHOUSE and STEPTRAIL_KAFKA")
    monkeypatch.setenv("STEPTRAIL_DIR", str(tmp_path / "nowhere"))
    refused(str(tmp_path / "nowhere"), "no such folder")


def test_a_stack_that_is_gone_is_refused(tmp_path: Path) -> None:
    """A file left by a process that died is no stack, and nothing else is taken in its place."""
    leave(tmp_path, pid=gone_pid())
    assert read_stack_file(tmp_path) is None
    refused("it has ended")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kafka": 1}', "\x00\xff"])
def test_a_file_that_no_stack_wrote_is_refused(tmp_path: Path, content: str) -> None:
    """What does not parse, or lacks an address, is no stack."""
    path = tmp_path / "stack.json"
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    assert read_stack_file(tmp_path) is None
    refused("is not what a stack writes")
    leave(tmp_path, clickhouse=None)
    assert read_stack_file(tmp_path) is None
    refused("is not what a stack writes")


def test_each_address_that_is_missing_is_refused_and_both_given_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where one address is given and no stack runs, the other is not guessed; with both, no stack is looked for."""
    monkeypatch.setenv("STEPTRAIL_KAFKA", "elsewhere:9092")
    assert "set STEPTRAIL_CLICKHOUSE, or" in refused()
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", "http://elsewhere:8123")
    assert Settings().kafka == "elsewhere:9092"
    monkeypatch.delenv("STEPTRAIL_KAFKA")
    assert "set STEPTRAIL_KAFKA, or" in refused()
    assert Settings(kafka="here:9092").kafka == "here:9092"
    monkeypatch.setenv("STEPTRAIL_KAFKA", "")  # as good as unset
    assert "set STEPTRAIL_KAFKA, or" in refused()


@pytest.mark.parametrize("storage", [emit_only, open_storage])
def test_a_worker_is_told_at_its_start(storage: Callable[[], object]) -> None:
    """Opening a storage raises; no add_step ever does for this."""
    with pytest.raises(NoStackError, match="no local stack runs"):
        storage()


def test_the_default_folder_counts_where_a_stack_left_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing set and never a stack: the documented addresses. A stack that crashed there: refused."""
    monkeypatch.delenv("STEPTRAIL_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().kafka == "127.0.0.1:9092"
    (tmp_path / "steptrail").mkdir()
    assert Settings().kafka == "127.0.0.1:9092"
    leave(tmp_path / "steptrail", pid=gone_pid())
    with pytest.raises(NoStackError, match=r"was left by a local stack.*\n`steptrail up`"):
        Settings()


def test_a_stack_that_nobody_chose_is_not_mixed_with_an_address_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events for another Kafka are not looked for in the tables of a stack that happens to run."""
    monkeypatch.delenv("STEPTRAIL_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "steptrail").mkdir()
    leave(tmp_path / "steptrail")
    assert Settings(kafka="elsewhere:9092").clickhouse_target().port == 8123
    assert Settings(kafka="127.0.0.1:1111").clickhouse_target().port == 2222
    assert Settings(clickhouse="http://elsewhere:8123").kafka == "127.0.0.1:9092"
    assert Settings(clickhouse="http://127.0.0.1:2222/steptrail").kafka == "127.0.0.1:1111"


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Who can write the file could have events sent elsewhere."""
    leave(tmp_path).chmod(0o622)
    with pytest.raises(ConfigurationError, match="others may write"):
        Settings()
    assert Settings(kafka="a:1", clickhouse="http://b:2").kafka == "a:1"


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """STEPTRAIL_DIR, else the user's data folder, of which relative ones are ignored."""
    assert default_dir() == tmp_path
    monkeypatch.delenv("STEPTRAIL_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_dir() == Path("/data/steptrail")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_dir() == Path("/home/me/.local/share/steptrail")


def test_a_process_that_ended_and_was_not_reaped_does_not_live() -> None:
    """A killed stack is not taken for a running one where nobody reaps it."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert not process_lives(child.pid)
    child.wait()
    assert not process_lives(child.pid)
    assert process_lives(os.getpid())
