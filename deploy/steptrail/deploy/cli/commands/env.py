"""`steptrail env`: the settings with which another program reaches the same Kafka and ClickHouse."""

from __future__ import annotations

import sys
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.options import Json, StackDir, settings_for
from steptrail.deploy.terminal.output import note, say, write_json

if TYPE_CHECKING:
    from steptrail.schemas.configuration.settings import Settings


def env(
    show_password: Annotated[
        bool, typer.Option("--show-password", help="Write secrets on a terminal, too.")
    ] = False,
    reader: Annotated[
        bool,
        typer.Option(
            "--reader", help="Instead: addresses for SQL tools, as the local stack's user who only reads."
        ),
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Print the settings as commands for a shell: the addresses, and what differs from the defaults.

    In a pipe, a file or $(…) secrets are written as they are, so that the result can be used; on a terminal, which
    others may see and which keeps what it showed, they are *** unless --show-password. With --json one object:
    variables by name.

    \b
    steptrail env
    steptrail env --reader
    eval "$(steptrail env)"
    steptrail env --json | jq -r .STEPTRAIL_CLICKHOUSE
    """
    hidden = sys.stdout.isatty() and not show_password
    settings = settings_for(directory)
    variables = _addresses(settings, hidden=hidden) if reader else _variables(settings, hidden=hidden)
    if json:
        write_json(variables)
    else:
        for name, value in variables.items():
            say(f"{'' if reader else 'export '}{name}={quote(value)}", folded=False)
    if hidden and "***" in "".join(variables.values()):
        note(
            'Secrets are hidden on a terminal: eval "$(steptrail env)" sets them, --show-password shows them.'
        )


def _addresses(settings: Settings, *, hidden: bool) -> dict[str, str]:
    """How each client is told of the store, by the client's name."""
    from urllib.parse import quote as percent

    from steptrail.deploy.cli.reader_login import reader_of
    from steptrail.deploy.terminal.failures import CommandError

    target = reader_of(settings)
    if target is None:
        raise CommandError(
            "the settings lead to no local stack that has a user who only reads.",
            hint="name the stack with --dir, or make such a user in your ClickHouse (docs/sql.md).",
        )
    password = "***" if hidden else percent(target.password, safe="")
    at, login = f"{target.host}:{target.port}", f"{target.username}:{password}"
    plain = "***" if hidden else target.password
    return {
        "HOST": target.host,
        "PORT": str(target.port),
        "USER": target.username,
        "PASSWORD": plain,
        "DATABASE": target.database,
        "URL": f"http://{login}@{at}/?database={target.database}",
        "SQLALCHEMY": f"clickhousedb://{login}@{at}/{target.database}",
        "JDBC": f"jdbc:clickhouse://{at}/{target.database}?user={target.username}&password={password}",
        "GO": f"http://{login}@{at}/{target.database}",
        "NODE": f"http://{login}@{at}/{target.database}",
    }


def _variables(settings: Settings, *, hidden: bool) -> dict[str, str]:
    from json import dumps

    from pydantic import SecretStr

    from steptrail.schemas.configuration.settings import ENV_PREFIX

    shown = settings.redacted() if hidden else {}
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is None or (
            value == field.get_default(call_default_factory=True, validated_data={}) and name not in _ALWAYS
        ):
            continue
        value = shown.get(name, value)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        found[ENV_PREFIX + name.upper()] = dumps(plain) if isinstance(plain, dict) else str(plain)
    return found


_ALWAYS = ("kafka", "clickhouse")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(env)
