"""Build the application for the given arguments, run it, and report what went wrong."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer
from typer.main import get_command

from steptrail.deploy.cli.registry import register_commands
from steptrail.deploy.terminal.failures import (
    EXIT_CODES,
    INTERRUPTED,
    OK,
    USAGE,
    VERDICT_USAGE,
    CommandError,
    as_command_error,
    report,
)

HELP = """
Follow documents through the steps that process them: workers emit events to Kafka, ClickHouse answers.

\b
First minutes:
  steptrail demo --keep            real documents through a real pipeline, on a stack of its own
  steptrail up --detach            a local stack: Kafka, the ClickHouse engine, the projector, health
  steptrail failing                what is failing now, and why
  steptrail documents --since 1d   the documents, in which state
  steptrail doc DOC                what happened to one document
  steptrail search TEXT            by part of an id, of an error, a worker, a trace
  steptrail sql "SELECT step_name, status, count() FROM steps GROUP BY ALL"

Addresses come from STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE, else from the local stack that runs in
STEPTRAIL_DIR or in the default folder. Commands that read take --json (steptrail schema describes it), lists
--watch. Commands that change something only show what they would do until they are given --yes.
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"steptrail {version('steptrail')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options before the command."""


def build(argv: list[str]) -> typer.Typer:
    """The Typer application with the commands that `argv` needs."""
    app = typer.Typer(
        name="steptrail",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # click's plain help: wraps as written, and is there in a third of the time
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP, epilog=EXIT_CODES)(_root)
    register_commands(app, argv)
    return app


def run(argv: list[str]) -> int:
    """Run the command in `argv` and return the exit code; never raises for what a user can get wrong."""
    as_json = "--json" in argv
    # librdkafka's own lines are for logs (`run …` configures some); a command gets what matters as an exception.
    logging.getLogger("steptrail.kafka").addHandler(logging.NullHandler())
    try:
        # Not standalone: click's own errors repeat what was typed, so they are reported like all others.
        code = get_command(build(argv)).main(argv, prog_name="steptrail", standalone_mode=False)
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):  # click exits with 1 for it
            return _without_reader()
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except BrokenPipeError:
        return _without_reader()
    except typer.Abort:
        return INTERRUPTED
    except (Exception, KeyboardInterrupt) as error:
        told = _usage_error(error) or as_command_error(error)
        if told is None:
            raise
        if told.exit_code == USAGE and _has_verdict_codes(argv):
            told.exit_code = VERDICT_USAGE
        return report(told, as_json=as_json)
    return code if isinstance(code, int) else OK


def _without_reader() -> int:
    """The reader of our output went away (`| head`): nothing is wrong. Keeps the interpreter from saying so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _has_verdict_codes(argv: list[str]) -> bool:
    """Whether the exit code is the verdict's (0 to 3), so that a mistake must have another one."""
    return next((word for word in argv if not word.startswith("-")), None) == "health"


def _usage_error(error: BaseException) -> CommandError | None:
    """Click's error as a CommandError, recognised by its shape: typer may bundle click or depend on it."""
    tell, code = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if tell is None or not isinstance(code, int):
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(tell()), err=True)
        raise SystemExit(code)
    hint = f"`{context.command_path} --help` shows how." if context is not None else None
    return CommandError(str(tell()), exit_code=code, kind="usage", hint=hint)
