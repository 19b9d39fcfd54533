import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.settings import Settings
from steptrail.schemas.stack_file import default_dir, process_lives, read_stack_file


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


def test_a_stack_that_is_gone_is_not_used(tmp_path: Path) -> None:
    """A file left by a process that died means nothing."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(tmp_path, pid=gone.pid)
    assert read_stack_file(tmp_path) is None
    assert Settings().kafka == "127.0.0.1:9092"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kafka": 1}', "\x00\xff"])
def test_a_file_in_the_making_is_not_used(tmp_path: Path, content: str) -> None:
    """What does not parse, or lacks an address, is no stack."""
    (tmp_path / "stack.json").write_text(content, encoding="latin-1")
    assert read_stack_file(tmp_path) is None
    leave(tmp_path, clickhouse=None)
    assert read_stack_file(tmp_path) is None


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
