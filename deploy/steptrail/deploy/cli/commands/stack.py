"""`steptrail up`, `down` and `status`: the local stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import NO, CommandError, need_local_stack
from steptrail.deploy.terminal.options import Json
from steptrail.deploy.terminal.output import Column, Styled, Table, note, say, show, write_json
from steptrail.deploy.terminal.times import show_duration
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.deploy.stack import StackStatus

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="The stack's folder; default: STEPTRAIL_DIR, else ~/.local/share/steptrail.",
        show_default=False,
    ),
]

_STATE_STYLES = {"ready": "green", "starting": "cyan", "done": "dim", "stopped": "dim"}


def up(
    directory: Folder = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready; `steptrail down` stops it.")
    ] = False,
    projector: Annotated[
        bool, typer.Option("--projector/--no-projector", help="Run a projector and a health consumer in it.")
    ] = True,
    any_port: Annotated[
        bool, typer.Option("--any-port", help="Leave the choice of ports to the system at the first start.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the READY line as a JSON object.")] = False,
) -> None:
    """Start a local stack: Apache Kafka, the ClickHouse engine, migrations, topics, the projector, health, the API.

    No Docker. It prints one line when everything answers, `READY kafka=… clickhouse=… dir=… web=…`, and stays
    until Ctrl-C, unless --detach. Data stays in the folder and is there again at the next start. Everything
    listens on 127.0.0.1 only; a part that crashes is started again. The line holds the store's password.

    With --detach, a stack that already runs in the folder is reported instead of started.

    \b
    steptrail up --detach
    steptrail up --dir ./stack --detach --json
    """
    need_local_stack()
    from steptrail.deploy import stack
    from steptrail.deploy.stack.folder import StackRunningError

    folder = _folder(directory)
    try:
        code = stack.up(folder, detach=detach, json_output=json, with_projector=projector, any_port=any_port)
    except StackRunningError:
        if not (detach and _tell_running(folder, json)):
            raise
        return
    raise typer.Exit(code)


def _tell_running(folder: Path, json: bool) -> bool:
    """Write the READY line of the stack that runs in `folder`; False when it is not ready yet."""
    from steptrail.schemas.configuration.settings import read_stack_file

    running = read_stack_file(folder)
    if running is None:
        return False
    told = {"kafka": running.kafka, "clickhouse": running.clickhouse, "dir": str(running.dir)}
    if running.web is not None:
        told["web"] = running.web
    if json:
        write_json(told)
    else:
        say("READY " + " ".join(f"{key}={value}" for key, value in told.items()), folded=False)
    note("It was running already.")
    return True


def down(directory: Folder = None, json: Json = False) -> None:
    """Stop the local stack and wait until it has ended. Its data stays in the folder.

    Exits 0 whether a stack ran or not. With --json one object: dir, stopped (whether one ran).

    \b
    steptrail down
    """
    from steptrail.deploy import stack

    folder = _folder(directory)
    stopped = stack.down(folder)
    if json:
        write_json({"dir": str(folder), "stopped": stopped})
    else:
        say(f"stopped the stack in {folder}" if stopped else f"no stack runs in {folder}")


def status(directory: Folder = None, json: Json = False) -> None:
    """Show the parts of the local stack. Exits 0 when all are ready, 1 otherwise.

    With --json one object: dir, running, ready, pid, kafka, clickhouse (without its password), failure, and
    parts, a list of name, state, pid, restarts, uptime_seconds, address,
    last_exit; and clickhouse_url, with the password, for the owner of the folder, otherwise null.

    \b
    steptrail status
    steptrail status --json | jq -e .ready
    """
    from steptrail.deploy.stack import stack_status

    folder = _folder(directory)
    found = stack_status(folder)
    if json:
        write_json(named({**found.as_dict(), "clickhouse_url": _url(folder)}))
    elif not found.running:
        raise CommandError(
            f"no stack runs in {found.dir}."
            + (f" The last start failed: {found.failure}" if found.failure else ""),
            exit_code=NO,
            kind="not_running",
            hint="`steptrail up --detach` starts it.",
        )
    else:
        _show(found)
    if not found.ready:
        raise typer.Exit(NO)


def _show(found: StackStatus) -> None:
    columns = [
        Column("part"),
        Column("state"),
        Column("pid", 4, right=True),
        Column("up", 3, right=True),
        Column("restarts", 3, right=True),
        Column("address", 2),
        Column("last exit", 5),
    ]
    table = Table(columns)
    for part in found.parts:
        table.add(
            part.name,
            Styled(part.state, _STATE_STYLES.get(part.state, "red")),
            part.pid,
            show_duration(None if part.uptime_s is None else part.uptime_s * 1000),
            part.restarts,
            part.address,
            part.last_exit,
        )
    show(table)
    say(f"folder {found.dir}, supervisor {found.pid}")


def _url(folder: Path) -> str | None:
    """The store's URL with its password, for the owner of the stack's folder."""
    from steptrail.schemas.configuration.settings import read_stack_file
    from steptrail.schemas.errors import ConfigurationError

    try:
        running = read_stack_file(folder) if folder.stat().st_uid == os.geteuid() else None
    except (OSError, ConfigurationError):
        return None
    return None if running is None else running.clickhouse


def _folder(directory: Path | None) -> Path:
    from steptrail.schemas.configuration.settings import default_dir

    return (directory or default_dir()).expanduser().absolute()


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
