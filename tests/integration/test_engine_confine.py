"""What the kernel lets the engine's process do, whatever its statements say."""

from __future__ import annotations

import ctypes
import socket
import subprocess
import sys
from pathlib import Path

import pytest

LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)

CODE = """
import os, socket, sys
from pathlib import Path
from steptrail.deploy.engine.confine import confine
own, other, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
assert confine(own) > 0
(own / "a").write_text("mine")
(own / "a").rename(own / "b")
assert (own / "b").read_text() == "mine"
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"
print(tried((other / "secret").read_text))
print(tried(lambda: (other / "new").write_text("x")))
print(tried(lambda: list(other.iterdir())))
print(tried((other / "secret").unlink))
print(tried(lambda: socket.create_connection(("127.0.0.1", port))))
"""


@pytest.mark.skipif(LANDLOCK < 4, reason="the kernel has no Landlock for files and TCP")
def test_the_process_stays_in_its_directory(tmp_path: Path) -> None:
    """Its own files can be written and read; others neither read, listed, made nor removed; no port is reached."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret").write_text("theirs")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", CODE, str(own), str(other), str(listener.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=other)
    assert done.stdout.split() == ["PermissionError"] * 5, done.stderr
    assert (other / "secret").read_text() == "theirs"
    assert [one.name for one in other.iterdir()] == ["secret"]
