"""The command line, `steptrail`.

A command is a function in a module of this package, named in `registry.py`; the module is imported
when its command is asked for, and what the command needs (Kafka, ClickHouse, the engine) when it runs.
So `steptrail --help` stays quick and a worker's installation is never asked for a server's libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["app"]


def app(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line on `argv` (the process's own arguments unless given) and exit.

    Without the `cli` extra it says what to install and exits 2.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        import rich  # noqa: F401 - asked for here, so that its absence is told as typer's is
        import typer  # noqa: F401
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f"steptrail: the command line needs the Python package {missing.name!r}, which is not installed.\n"
            "Install it with:  pip install 'steptrail[cli]'   (or 'steptrail[local]' for the local stack too)\n"
        )
        sys.exit(2)
    from steptrail.deploy.cli.main import run
    from steptrail.deploy.terminal.guard import guard_terminal

    guard_terminal()

    sys.exit(run(arguments))
