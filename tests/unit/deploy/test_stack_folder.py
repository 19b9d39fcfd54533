from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from steptrail.deploy.private_files import write_private
from steptrail.deploy.stack.folder import StackFolder, StackRunningError, read_json, write_json
from steptrail.deploy.stack.logs import mark_start, tail, turn_over
from steptrail.deploy.stack.status import stack_status
from steptrail.schemas.errors import ConfigurationError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    """The folder, the password and the state files are closed to others, also when the folder was open."""
    folder = StackFolder(tmp_path / "stack")
    folder.path.mkdir(mode=0o755)
    folder.create()
    password = folder.password()
    write_json(folder.stack_file, {"clickhouse": "secret"})
    assert (mode(folder.path), mode(folder.password_file), mode(folder.stack_file)) == (0o700, 0o600, 0o600)
    assert len(password) >= 24
    assert folder.password() == password


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    """While one process holds the lock, another is refused with its pid and what to do; a dead one holds nothing."""
    folder = StackFolder(tmp_path)
    folder.create()
    held = folder.lock()
    code = (
        "import sys; from pathlib import Path; from steptrail.deploy.stack.folder import *\n"
        "folder = StackFolder(Path(sys.argv[1])); print(folder.supervisor_pid()); folder.lock()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(os.getpid())
    assert f"StackRunningError: a stack runs in {tmp_path} already (supervisor {os.getpid()})" in done.stderr
    held.close()
    assert folder.supervisor_pid() is None
    folder.lock().close()


def test_the_lock_refuses_within_a_process_too(tmp_path: Path) -> None:
    """The lock belongs to the open file, not to the process."""
    folder = StackFolder(tmp_path)
    folder.create()
    with folder.lock(), pytest.raises(StackRunningError, match="steptrail down --dir"):
        folder.lock()


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    """A file in the folder's place, or a comma in its name (which Kafka cannot take), is a clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        StackFolder(tmp_path / "file").create()
    with pytest.raises(ConfigurationError, match="comma"):
        StackFolder(tmp_path / "a,b").create()


def test_a_folder_never_used_has_a_status(tmp_path: Path) -> None:
    """Nothing runs there, and that is no error."""
    status = stack_status(tmp_path / "never")
    assert not status.running
    assert not status.ready
    assert status.parts == ()


def test_the_status_of_a_dead_supervisor_says_stopped(tmp_path: Path) -> None:
    """What a killed supervisor wrote last is not taken for what runs now."""
    folder = StackFolder(tmp_path)
    folder.create()
    part = {"name": "broker", "state": "ready", "pid": os.getpid(), "restarts": 2, "started_at": 0.0}
    part |= {"address": "127.0.0.1:1", "last_exit": None}
    write_json(folder.status_file, {"pid": os.getpid(), "ready": True, "parts": [part]})
    status = stack_status(tmp_path)
    assert (status.running, status.ready) == (False, False)
    assert [(each.state, each.pid, each.uptime_s) for each in status.parts] == [("stopped", None, None)]


@pytest.mark.parametrize("damaged", ["", "[]", "{", "null"])
def test_a_damaged_state_file_reads_as_empty(tmp_path: Path, damaged: str) -> None:
    """Half-written or foreign content is an empty object."""
    (tmp_path / "file.json").write_text(damaged)
    assert read_json(tmp_path / "file.json") == {}


def test_a_log_is_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    """Past the limit a log is copied aside and emptied, and its open writer continues at the new end."""
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 10)
        assert not turn_over(log, limit=40)
        assert turn_over(log, limit=39)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "part.log.1").read_bytes() == b"old\n" * 10
    assert not turn_over(tmp_path / "absent.log")


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    """The last lines, whatever the bytes; nothing for a log that is not there."""
    log = tmp_path / "part.log"
    log.write_bytes(b"".join(b"line %d \xff\n" % number for number in range(5000)))
    assert tail(log, lines=2).split() == ["line", "4998", "\ufffd", "line", "4999", "\ufffd"]
    assert tail(tmp_path / "absent.log") == ""


def test_the_tail_is_the_latest_starts(tmp_path: Path) -> None:
    """What an earlier start said is not shown as the reason of this one's end."""
    log = tmp_path / "part.log"
    for words in ("first", "second"):
        mark_start(log)
        with log.open("a") as file:
            file.write(f"{words}\n")
    assert tail(log) == "second"
    mark_start(log)
    assert tail(log) == ""


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    """Links put where the stack writes, under the final name or a guessed scratch name, lead nowhere."""
    folder = StackFolder(tmp_path / "stack")
    folder.create()
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    for path in (folder.stack_file, folder.lock_file, folder.log("projector"), folder.log("projector.log.1")):
        path.symlink_to(victim)
    (folder.path / f".{folder.stack_file.name}.{os.getpid()}").symlink_to(victim)
    write_json(folder.stack_file, {"a": 1})
    assert read_json(folder.stack_file) == {"a": 1}
    assert not folder.stack_file.is_symlink()
    with pytest.raises(OSError):
        folder.lock()
    with pytest.raises(OSError):
        mark_start(folder.log("projector"))
    assert not turn_over(folder.log("projector"), limit=1)
    assert victim.read_text() == "mine\n"


def test_an_older_log_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    """Turning a log over writes the older file anew, and closed to others."""
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    log = tmp_path / "part.log"
    log.write_text("long enough\n")
    older = tmp_path / "part.log.1"
    older.symlink_to(victim)
    assert turn_over(log, limit=1)
    assert (log.read_text(), older.read_text(), victim.read_text()) == ("", "long enough\n", "mine\n")
    assert mode(older) == 0o600


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """The scratch file is gone, and what was there stays."""
    path = tmp_path / "state"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\udcff")
    assert [one.name for one in tmp_path.iterdir()] == ["state"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("open_to", [0o777, 0o770, 0o722])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, open_to: int) -> None:
    """What others could have put there is not to be trusted; shared folders with the sticky bit are."""
    folder = StackFolder(tmp_path / "stack")
    folder.path.mkdir()
    folder.path.chmod(open_to)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        folder.create()
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        write_private(folder.path / "x", "y")
    folder.path.chmod(0o1777)
    write_private(folder.path / "x", "y")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its owner could replace every file in it."""
    path = tmp_path / "theirs"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        StackFolder(path).create()
