"""Which module holds which command.

A module named here has `register(app)`, which adds its commands to the Typer application that it is
given. To add a command, write the function, add it in the module's `register`, and name it here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from steptrail.deploy.terminal.completing import words_being_completed

if TYPE_CHECKING:
    import typer

#: Command -> module, in the order in which the help lists them. A module may serve several commands,
#: and may live in any of the roots.
COMMANDS: dict[str, str] = {
    "demo": "steptrail.deploy.cli.commands.demo",
    "up": "steptrail.deploy.cli.commands.stack",
    "down": "steptrail.deploy.cli.commands.stack",
    "status": "steptrail.deploy.cli.commands.stack",
    "env": "steptrail.deploy.cli.commands.env",
    "doc": "steptrail.deploy.cli.commands.doc",
    "failing": "steptrail.deploy.cli.commands.failing",
    "in-progress": "steptrail.deploy.cli.commands.failing",
    "documents": "steptrail.deploy.cli.commands.documents",
    "search": "steptrail.deploy.cli.commands.search",
    "errors": "steptrail.deploy.cli.commands.errors",
    "groups": "steptrail.deploy.cli.commands.groups",
    "steps": "steptrail.deploy.cli.commands.steps",
    "throughput": "steptrail.deploy.cli.commands.steps",
    "waits": "steptrail.deploy.cli.commands.steps",
    "incomplete": "steptrail.deploy.cli.commands.incomplete",
    "expect": "steptrail.deploy.cli.commands.expect",
    "export": "steptrail.deploy.cli.commands.export",
    "sql": "steptrail.deploy.cli.commands.sql",
    "health": "steptrail.deploy.cli.commands.health.health",
    "lag": "steptrail.deploy.cli.commands.lag",
    "emitters": "steptrail.deploy.cli.commands.emitters",
    "losses": "steptrail.deploy.cli.commands.losses",
    "alerts": "steptrail.deploy.cli.commands.alerts",
    "dlq": "steptrail.deploy.cli.commands.dlq.dlq",
    "retention": "steptrail.deploy.cli.commands.retention",
    "erase": "steptrail.deploy.cli.commands.erase",
    "rebuild": "steptrail.deploy.cli.commands.rebuild",
    "backup": "steptrail.deploy.cli.commands.backup",
    "restore": "steptrail.deploy.cli.commands.backup",
    "schema": "steptrail.deploy.cli.commands.schema",
    "completion": "steptrail.deploy.cli.commands.completion",
    "run": "steptrail.deploy.cli.commands.run.run",
    "topics": "steptrail.deploy.cli.commands.setup",
    "acls": "steptrail.deploy.cli.commands.acls",
    "migrate": "steptrail.deploy.cli.commands.setup",
    "shards": "steptrail.deploy.cli.commands.shards",
    "grants": "steptrail.deploy.cli.commands.grants",
}


def register_commands(app: typer.Typer, argv: list[str]) -> None:
    """Add to `app` the commands of the one module that `argv` asks for, or of all when it names none."""
    completed = words_being_completed()
    named = next((word for word in completed or argv if not word.startswith("-")), None)
    modules = [COMMANDS[named]] if named in COMMANDS else list(dict.fromkeys(COMMANDS.values()))
    for name in modules:
        importlib.import_module(name).register(app)
