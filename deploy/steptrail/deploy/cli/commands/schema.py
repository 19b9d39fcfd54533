"""`steptrail schema`: what `--json` of a command writes, as JSON Schema."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.output import say

if TYPE_CHECKING:
    from steptrail.deploy.cli.shapes.building import Shape


def schema(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...", help="Such as failing, or dlq list; none: list them.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the JSON Schema of a command's --json.

    The schema (draft 2020-12) is of each line of standard output where the answer is a list, else of the one
    object. Its `$defs` has the objects on standard error: `about` (about the whole list) and `error`; and
    `change`, each line with --watch. Some options have a schema of their own, such as failing --by-step, which is
    named without its dashes.

    \b
    steptrail schema
    steptrail schema failing > failing.schema.json
    steptrail schema failing by-step
    """
    from steptrail.deploy.cli.shapes.building import document

    shapes = all_shapes()
    if not command:
        for name in shapes:
            say(name)
        return
    wanted = " ".join(command)
    chosen = [each for each in shapes if wanted in (each, each.replace("--", ""))]
    if not chosen:
        from steptrail.schemas.near_names import near_names

        raise CommandError(
            f"no --json of a command {wanted!r} is known.",
            exit_code=USAGE,
            kind="usage",
            near=near_names(wanted, shapes),
            hint="`steptrail schema` lists them.",
        )
    sys.stdout.write(json.dumps(document(chosen[0], shapes[chosen[0]]), indent=2) + "\n")


def all_shapes() -> dict[str, Shape]:
    """What each command writes, by the command's words."""
    from steptrail.deploy.cli.shapes import lifecycle, operating, reading

    return dict(sorted({**reading.shapes(), **operating.shapes(), **lifecycle.shapes()}.items()))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(schema)
