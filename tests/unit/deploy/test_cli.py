import importlib
import json
import os
import re
import subprocess
import sys
from datetime import date, datetime, timezone
from pathlib import Path
from uuid import UUID

import pytest

from steptrail.deploy.cli.main import run
from steptrail.deploy.cli.registry import COMMANDS
from steptrail.deploy.terminal.failures import NO, OK, UNREACHABLE, USAGE
from steptrail.deploy.terminal.output import json_ready, plain
from steptrail.schemas import ProcessingStatus
from support.effort import ONLY_IN_TEST_ALL
from support.journals import Line

NOWHERE = "http://default:sesame@127.0.0.1:1/steptrail"


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("STEPTRAIL_"):
            monkeypatch.delenv(name)
    # Nothing listens on port 1, and no stack runs in an empty folder.
    monkeypatch.setenv("STEPTRAIL_DIR", str(tmp_path))
    monkeypatch.setenv("STEPTRAIL_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("STEPTRAIL_CLICKHOUSE", NOWHERE)


@pytest.mark.parametrize(
    "argv", [[], *[[name] for name in COMMANDS], ["run", "projector"], ["run", "spool"]], ids=" ".join
)
def test_every_command_explains_itself(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """--help of every command exits 0, says what the command does, and shows examples."""
    assert run([*argv, "--help"]) == OK
    shown = capsys.readouterr()
    assert f"Usage: {' '.join(['steptrail', *argv])}" in shown.out
    if argv != ["run"]:
        assert re.search(rf"^ +{' '.join(['steptrail', *argv])}", shown.out, re.MULTILINE), "an example"
    assert shown.err == ""


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The first page names all commands, and the exit codes that scripts can use."""
    assert run(["--help"]) == OK
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in shown
    for code in (
        "0  done",
        "1  the answer is no",
        "2  a mistake",
        "3  Kafka",
        "4  ClickHouse refused",
        "130",
    ):
        assert code in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_registry_names_the_module_that_has_the_command(name: str) -> None:
    """Each command is registered by the module that the registry names for it."""
    import typer

    app = typer.Typer()
    importlib.import_module(COMMANDS[name]).register(app)
    commands = {(info.name or info.callback.__name__) for info in app.registered_commands if info.callback}
    assert name in commands | {str(info.name) for info in app.registered_groups}


def test_help_imports_nothing_heavy() -> None:
    """--help loads neither Kafka's client nor ClickHouse's nor pydantic, so it is there at once."""
    script = (
        "import sys; from steptrail.deploy.cli.main import run; code = run(['--help']); "
        "heavy = {'pydantic', 'confluent_kafka', 'clickhouse_connect', 'chdb', 'fastavro'} & set(sys.modules); "
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    """Without typer the program names the extra to install, and exits 2 without a traceback."""
    script = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['steptrail', 'up']; "
        "from steptrail.deploy.cli import app; app()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == USAGE
    assert "pip install 'steptrail[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "extra"), [("clickhouse_connect", "cli,clickhouse"), ("uvicorn", "cli,local")]
)
def test_a_missing_library_names_its_extra(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command whose library is not installed says which extra brings it."""
    from steptrail.deploy.terminal import failures

    told = failures.as_command_error(ModuleNotFoundError("No module named x", name=f"{module}.driver"))
    assert told is not None
    assert failures.report(told, as_json=False) == USAGE
    assert f"pip install 'steptrail[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["up"], ["demo"]], ids=" ".join)
def test_the_local_stack_names_its_extra_before_it_starts(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a library of the local stack nothing is begun, and the extra is named."""
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert run([*argv, "--dir", str(tmp_path / "new")]) == USAGE
    shown = capsys.readouterr().err
    assert "'uvicorn'" in shown
    assert "pip install 'steptrail[cli,local]'" in shown
    assert not (tmp_path / "new").exists()


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    """What no user can have got wrong is raised as it is."""
    from steptrail.deploy.terminal.failures import as_command_error

    assert as_command_error(ZeroDivisionError()) is None
    assert (
        as_command_error(ModuleNotFoundError("No module named 'steptrail.nope'", name="steptrail.nope"))
        is None
    )


BAD: list[tuple[list[str], int, str]] = [
    (["errors", "--since", "yesterday"], USAGE, "cannot read the time 'yesterday'"),
    (["errors", "--limit", "0"], USAGE, "--limit"),
    (["errors", "--frobnicate"], USAGE, "No such option"),
    (["error"], USAGE, "Did you mean"),
    (["expect"], USAGE, "name a pipeline and its steps, or give --file or --list"),
    (["expect", "p"], USAGE, "name the steps of pipeline 'p'"),
    (["expect", "p", "a", "a"], USAGE, "step 2: 'a' is there twice"),
    (["expect", "p", "a", "--nothing"], USAGE, "exclude each other"),
    (["expect", "p", "--file", "steps.toml"], USAGE, "--file takes no pipeline"),
    (["expect", "p", "a", "--list"], USAGE, "--list only shows"),
    (["expect", "--file", "/no/steps.toml"], USAGE, "/no/steps.toml cannot be read: No such file"),
    (["expect", "p", "a"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["incomplete", "--quiet", "long"], USAGE, "cannot read the time 'long'"),
    (["incomplete", "--after", "nonsense"], USAGE, "not a page cursor"),
    (["incomplete"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["sql"], USAGE, "Missing argument"),
    (["sql", " ; "], USAGE, "the query is empty"),
    (["sql", "SELECT 1", "--json", "--csv"], USAGE, "exclude each other"),
    (["doc", "x", "--after", "nonsense"], USAGE, "not a page cursor"),
    (["doc", "x"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["errors"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["sql", "SELECT 1"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["migrate"], UNREACHABLE, "127.0.0.1:1 cannot be reached: Connection refused"),
    (["topics"], UNREACHABLE, "Kafka at 127.0.0.1:1"),
    (["errors", "--dir", "/nonexistent"], UNREACHABLE, "no local stack runs in /nonexistent"),
    (["status", "--dir", "/nonexistent"], NO, "no stack runs in /nonexistent"),
    (["run", "nothing"], USAGE, "No such command 'nothing'"),
    (["grants", "--part", "nobody"], USAGE, "there is no part 'nobody': migrator, projector, health"),
    (["grants", "--pipelines", "invoices"], USAGE, "--pipelines: whose?"),
    (["grants", "--analyst", "anna", "--pipelines", " , "], USAGE, "--pipelines names none"),
    (["grants", "--analyst", "an`na"], USAGE, "a name begins with a letter"),
    (["grants", "--prefix", "1x"], USAGE, "--prefix '1x'"),
    (["grants", "--cluster", "a b"], USAGE, "--cluster 'a b'"),
]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [*BAD, pytest.param(["lag"], UNREACHABLE, "127.0.0.1:1", marks=ONLY_IN_TEST_ALL)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_without_a_traceback(
    argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user can get wrong ends with a message on standard error and an exit code, never a traceback."""
    assert run(argv) == code
    shown = capsys.readouterr()
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert "sesame" not in shown.err, "a password"
    assert shown.out == ""


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["errors", "--since", "yesterday", "--json"], USAGE),
        (["errors", "--frobnicate", "--json"], USAGE),
        (["doc", "x", "--json"], UNREACHABLE),
        (["errors", "--json", "--dir", "/nonexistent"], UNREACHABLE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_with_json_mistakes_are_json_too(
    argv: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json standard error holds one object with error, message and exit_code."""
    assert run(argv) == code
    shown = capsys.readouterr()
    told = json.loads(shown.err)
    assert told["exit_code"] == code
    assert told["message"]
    assert told["error"].isidentifier()
    assert shown.out == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEPTRAIL_KAFKA", "no port here"),
        ("STEPTRAIL_CLICKHOUSE", "ftp://default:sesame@host/x"),
        ("STEPTRAIL_STEPS_PARTITIONS", "many"),
    ],
)
def test_bad_settings_name_the_setting_and_keep_secrets(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that cannot be is a mistake of usage; the message does not show a password."""
    monkeypatch.setenv(name, value)
    assert run(["topics"]) == USAGE
    shown = capsys.readouterr().err
    assert name in shown or "ClickHouse URL" in shown
    assert "sesame" not in shown
    assert "Traceback" not in shown


def test_a_reader_that_goes_away_is_no_mistake() -> None:
    """As of `steptrail … | head`: exit code 0, and nothing is said."""
    argv = [sys.executable, "-m", "steptrail.deploy.cli", "schema", "doc"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == OK


def test_status_of_no_stack_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`status --json` of a folder without a stack is an object that says so, with exit code 1."""
    assert run(["status", "--dir", str(tmp_path), "--json"]) == NO
    told = json.loads(capsys.readouterr().out)
    assert (told["running"], told["ready"], told["dir"]) == (False, False, str(tmp_path))


def test_down_without_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopping what does not run is fine."""
    assert run(["down", "--dir", str(tmp_path), "--json"]) == OK
    assert json.loads(capsys.readouterr().out) == {"dir": str(tmp_path), "stopped": False}


@pytest.mark.parametrize("more", [[], ["/no/such/folder"]], ids=["none named", "not there"])
def test_run_spool_asks_for_a_folder(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a folder, or with one that is not there, it is a mistake of usage, with what to do."""
    assert run(["run", "spool", "--once", *more]) == USAGE
    assert ("STEPTRAIL_JOURNAL_DIR" if not more else "/no/such/folder") in capsys.readouterr().err


def test_run_spool_without_kafka(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where Kafka does not answer it says so, exits 3, and everything stays where it is."""
    left = tmp_path / "left"
    line = Line(left)
    line.emit(b"default/doc", b"value")
    line.journal.close()
    before = {path: path.read_bytes() for path in left.iterdir()}
    assert run(["run", "spool", "--once", "--timeout", "0.5", "--json", str(left)]) == UNREACHABLE
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"sent": 0, "refused": 0, "files_left": None, "reached": False}
    assert "did not answer" in shown.err
    assert {path: path.read_bytes() for path in left.iterdir()} == before


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the installed version."""
    assert run(["--version"]) == OK
    assert capsys.readouterr().out.startswith("steptrail 0.")


def test_output_into_a_closed_pipe_is_no_error() -> None:
    """A reader that goes away (`| head -1`) leaves no traceback behind."""
    done = subprocess.run(
        [f"{sys.executable} -m steptrail.deploy.cli --help | head -1"],
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_json_ready() -> None:
    """Whatever ClickHouse answers becomes JSON: times in UTC, ids as text, no NaN."""
    value = {
        "at": datetime(2026, 5, 4, 12, 0, 0, 1500, tzinfo=timezone.utc),
        "day": date(2026, 5, 4),
        "id": UUID(int=7),
        "big": 2**100,
        "nan": float("nan"),
        "bytes": b"\x01\xff",
        "status": ProcessingStatus.FAILED,
        "list": (1, None, True, {"x": float("inf")}),
        3: "key",
    }
    ready = json_ready(value)
    assert json.loads(json.dumps(ready, allow_nan=False)) == {
        "at": "2026-05-04T12:00:00.001500Z",
        "day": "2026-05-04",
        "id": "00000000-0000-0000-0000-000000000007",
        "big": 2**100,
        "nan": "nan",
        "bytes": "01ff",
        "status": "FAILED",
        "list": [1, None, True, {"x": "inf"}],
        "3": "key",
    }


def test_plain_cells() -> None:
    """Cells show values as text, nested ones as JSON, and nothing for what is absent."""
    assert [plain(value) for value in (None, "[b]", 1.5, [1, "a"], {"k": None})] == [
        "",
        "[b]",
        "1.5",
        '[1, "a"]',
        '{"k": null}',
    ]
