"""Options that several commands share, and the settings that they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import UNREACHABLE, USAGE, CommandError

if TYPE_CHECKING:
    from steptrail.schemas.configuration.settings import Settings, StackAddresses


def spelled_out(name: str | None) -> str | None:
    """A name as it was typed, as emitters spell it: bytes that are no UTF-8 come as lone surrogates."""
    if name is None or name.isascii():
        return name
    from steptrail.schemas.stored_names import stored_name

    return stored_name(name, 1 << 62)


Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs; errors too, on standard error.")]
Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        "-p",
        help="Only this pipeline; default: all.",
        callback=spelled_out,
        autocompletion=completing.pipelines,
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do it; without --yes it only shows what it would do.")
]
StackDir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="Use the local stack that runs in DIR, regardless of the environment.",
        show_default=False,
    ),
]


def note_dry_run() -> None:
    """Says that nothing was done, and how it is."""
    from steptrail.deploy.terminal.output import note

    note("Nothing was changed: --yes does it.")


def require_one_store(settings: Settings) -> None:
    """Raises CommandError (exit 2) in a sharded layout: the command changes one store's tables."""
    from steptrail.schemas.configuration.clickhouse_settings import SHARDED

    if settings.clickhouse_layout in SHARDED:
        raise CommandError(
            f"this changes the tables of one store, and STEPTRAIL_CLICKHOUSE_LAYOUT is {settings.clickhouse_layout}.",
            exit_code=USAGE,
            kind="layout",
            hint="run it for each shard: STEPTRAIL_CLICKHOUSE=<the shard's URL> STEPTRAIL_CLICKHOUSE_LAYOUT=single, "
            "and STEPTRAIL_CLICKHOUSE_SERVERS unset",
        )


def settings_for(directory: Path | None) -> Settings:
    """The settings of the environment, or of the local stack in `directory` when one is named.

    Raises CommandError (exit 3) when no stack runs there.
    """
    from steptrail.schemas.configuration.settings import Settings
    from steptrail.schemas.configuration.stack_file import NoStackError, running_stack

    if directory is not None:
        try:
            running_stack(directory.expanduser(), named_by="--dir")
        except NoStackError as error:
            raise CommandError(
                str(error),
                exit_code=UNREACHABLE,
                kind="no_stack",
                hint=f"start it with:  steptrail up --detach --dir {quote(str(directory))}",
            ) from None
        use_stack(directory)
    return Settings()


def variable(name: str) -> str | None:
    """One setting that is a text, such as a file's name, for a command that needs no Kafka and no ClickHouse."""
    from steptrail.schemas.configuration.settings import ENV_PREFIX

    wanted = ENV_PREFIX + name.upper()
    return next((value for key, value in os.environ.items() if key.upper() == wanted and value), None)


def use_stack(directory: Path) -> None:
    """Have this process and those that it starts use the local stack in `directory`.

    The environment's settings of another Kafka or ClickHouse (addresses, users, certificates) are dropped.
    """
    for name in list(os.environ):
        if name.upper().startswith(("STEPTRAIL_KAFKA", "STEPTRAIL_CLICKHOUSE")):
            del os.environ[name]
    os.environ["STEPTRAIL_DIR"] = str(directory.expanduser().absolute())


def local_stack(settings: Settings) -> StackAddresses | None:
    """The local stack, when it is what `settings` lead to; None when they lead elsewhere."""
    from steptrail.schemas.configuration.settings import read_stack_file

    stack = read_stack_file()
    return stack if stack is not None and stack.kafka == settings.kafka else None
