"""Files that are there whole or not at all, and what is counted while they are written."""

from __future__ import annotations

import csv
import io
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.transfer import Transfer
from steptrail.deploy.terminal.whole_file import whole_file

HALF = (
    "import sys, time; from pathlib import Path; from steptrail.deploy.terminal.whole_file import whole_file\n"
    "with whole_file(Path(sys.argv[1]), force=True) as file:\n"
    "    file.write(b'half'); file.flush(); print('begun', flush=True); time.sleep(600)\n"
)


def test_a_file_appears_whole_at_the_end(tmp_path: Path) -> None:
    """Nothing of that name is there while it is written; rights are those of any new file."""
    path = tmp_path / "events.csv"
    with whole_file(path, force=False) as file:
        file.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert os.listdir(tmp_path) == ["events.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_an_error_leaves_nothing_behind(error: type[BaseException], tmp_path: Path) -> None:
    """Not even the file that was to be written over."""
    path = tmp_path / "events.csv"
    path.write_bytes(b"before")

    def interrupted() -> None:
        with whole_file(path, force=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["events.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, a kill and a closed terminal."""
    with subprocess.Popen(
        [sys.executable, "-c", HALF, str(tmp_path / "events.csv")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as writing:
        assert writing.stdout is not None
        assert writing.stdout.readline() == "begun\n"
        assert len(os.listdir(tmp_path)) == 1
        writing.send_signal(number)
        assert writing.wait(60) != 0
    assert os.listdir(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """Somebody else's is kept, and it is told."""
    path = tmp_path / "events.csv"

    def written() -> None:
        with whole_file(path, force=False) as file:
            file.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(CommandError, match="exists already") as told:
        written()
    assert told.value.exit_code == NO
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["events.csv"]


def test_a_link_keeps_leading_to_its_file_and_rights_stay(tmp_path: Path) -> None:
    """What is written over is the file, not the link."""
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_bytes(b"before")
    real.chmod(0o640)
    link.symlink_to(real)
    with whole_file(link, force=True) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert real.read_bytes() == b"after"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_what_is_no_regular_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    """/dev/null stays a device, and needs no --force."""
    with whole_file(Path(os.devnull), force=False) as file:
        file.write(b"away")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize(("name", "code"), [("no/events.csv", NO), (".", USAGE)])
def test_a_place_that_cannot_be_written_to_is_told(name: str, code: int, tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(CommandError) as told, whole_file(tmp_path / name, force=False):
        pass
    assert told.value.exit_code == code
    assert str(tmp_path) in told.value.message


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_rows_of_csv_are_counted_whatever_is_in_them(size: int) -> None:
    """Line ends within quotes and doubled quotes are no rows, wherever a piece is cut."""
    rows = [["name", "text"], ["a", 'two\nlines "quoted"'], ["b", '"'], ["c", "\n\n"], ["d", ""]]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    data = text.getvalue().encode()
    transfer = Transfer("csv", None, shown=False)
    assert b"".join(transfer.through(data[at : at + size] for at in range(0, len(data), size))) == data
    assert (transfer.rows, transfer.bytes) == (4, len(data))


def test_rows_of_json_lines_are_counted_and_those_of_parquet_are_not() -> None:
    """JSON has no line end within a line."""
    lines = Transfer("jsonl", 4, shown=False)
    list(lines.through([b'{"a": "\\n\\""}\n{"a"', b": 1}\n"]))
    assert lines.rows == 2
    assert lines.line(2.0) == "2 rows, 0.0 MB, 1 rows a second, 50 %"
    parquet = Transfer("parquet", 4, shown=False)
    list(parquet.through([b"PAR1\n" * 400_000]))
    assert parquet.rows is None
    assert parquet.line(2.0) == "2.0 MB, 1.0 MB a second, of about 4 rows"


def test_a_line_of_progress_is_drawn_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is to be shown."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    list(Transfer("jsonl", None, shown=False).through([b"{}\n"]))
    assert written.getvalue() == ""
    list(Transfer("jsonl", None, shown=True).through([b"{}\n"]))
    assert written.getvalue().endswith("\r\x1b[K")
