"""`steptrail run web`: the HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.options import StackDir, settings_for, variable
from steptrail.deploy.terminal.output import note, say


def web(
    host: Annotated[
        str | None,
        typer.Option(
            "--host", help="Address to listen on; STEPTRAIL_WEB_HOST, else 127.0.0.1.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="Port; STEPTRAIL_WEB_PORT, else 8321.", show_default=False
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            "--tokens",
            metavar="FILE",
            help="The tokens file; STEPTRAIL_WEB_TOKENS unless given.",
            show_default=False,
        ),
    ] = None,
    new_token: Annotated[
        str | None,
        typer.Option(
            "--new-token", metavar="NAME", help="Make a token, show it once, and end.", show_default=False
        ),
    ] = None,
    role: Annotated[
        str, typer.Option("--role", help="What the new token may do: read, or operate.")
    ] = "read",
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline", "-p", help="The new token is for this pipeline alone; several may be given."
        ),
    ] = None,
    directory: StackDir = None,
) -> None:
    """Serve the HTTP API under /api/v1: everything that the tables know, and what people decide about it.

    It runs until SIGTERM or Ctrl-C. On loopback it needs no login; beyond, it refuses to start without a tokens file
    or a trusted proxy (docs/api.md). Kafka and ClickHouse may be away: its answers say what cannot be known. The log
    is JSON lines on standard error.

    \b
    steptrail run web
    steptrail run web --new-token grafana --tokens tokens.toml
    steptrail run web --host 0.0.0.0 --tokens tokens.toml
    """
    named = str(tokens) if tokens is not None else variable("web_tokens")
    if new_token is not None:
        _make(new_token, role, pipeline or [], named)
        return
    from steptrail.consumers.web.run import run_web

    settings = settings_for(directory)
    if host is not None:
        settings = settings.with_values(web_host=host)
    if port is not None:
        settings = settings.with_values(web_port=port)
    if named is not None:
        settings = settings.with_values(web_tokens=named)
    stop = stop_at_signals()
    raise typer.Exit(run_web(settings, stop, on_ready=lambda address: note(f"Serving {address}api/v1")))


def _make(name: str, role: str, pipelines: list[str], file: str | None) -> None:
    from steptrail.consumers.web.access.tokens import new_token

    if file is None:
        raise CommandError(
            "in which file? Nothing says so.",
            exit_code=USAGE,
            kind="usage",
            hint="name it by --tokens or STEPTRAIL_WEB_TOKENS",
        )
    if role not in ("read", "operate"):
        raise CommandError(f"a role is read or operate, not {role!r}.", exit_code=USAGE, kind="usage")
    chosen: Literal["read", "operate"] = "operate" if role == "operate" else "read"
    path = Path(file).expanduser()
    token = new_token(path, name, chosen, pipelines)
    say(token)
    note(
        f"It is shown this once; {path} holds its hash. It is taken by a server that runs with that file at once."
    )
