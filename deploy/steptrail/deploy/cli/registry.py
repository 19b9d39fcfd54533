"""Which module holds which command.

A module named here has `register(app)`, which adds its commands to the Typer application that it is
given. To add a command, write the function, add it in the module's `register`, and name it here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

#: Command -> module, in the order in which the help lists them. A module may serve several commands,
#: and may live in any of the roots.
COMMANDS: dict[str, str] = {
    "demo": "steptrail.deploy.cli.demo",
    "up": "steptrail.deploy.cli.stack",
    "down": "steptrail.deploy.cli.stack",
    "status": "steptrail.deploy.cli.stack",
    "doc": "steptrail.deploy.cli.doc",
    "errors": "steptrail.deploy.cli.recent_errors",
    "groups": "steptrail.deploy.cli.groups",
    "incomplete": "steptrail.deploy.cli.incomplete",
    "expect": "steptrail.deploy.cli.expect",
    "sql": "steptrail.deploy.cli.sql",
    "health": "steptrail.deploy.cli.health",
    "lag": "steptrail.deploy.cli.lag",
    "alerts": "steptrail.deploy.cli.alerts",
    "dlq": "steptrail.deploy.cli.dlq",
    "run": "steptrail.deploy.cli.running",
    "topics": "steptrail.deploy.cli.setup",
    "migrate": "steptrail.deploy.cli.setup",
}


def register_commands(app: typer.Typer, argv: list[str]) -> None:
    """Add to `app` the commands of the one module that `argv` asks for, or of all when it names none."""
    named = next((word for word in argv if not word.startswith("-")), None)
    modules = [COMMANDS[named]] if named in COMMANDS else list(dict.fromkeys(COMMANDS.values()))
    for name in modules:
        importlib.import_module(name).register(app)
