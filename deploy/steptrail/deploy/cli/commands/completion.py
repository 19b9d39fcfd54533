"""`steptrail completion`: what a shell needs to complete this command line."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from steptrail.deploy.terminal.completing import words
from steptrail.deploy.terminal.failures import USAGE, CommandError

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[
        str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=words(*SHELLS))
    ],
) -> None:
    """Write the script of a shell's completion.

    It completes commands, options, pipelines, steps, documents and error groups. Names are asked from the store,
    for a second at most; where it does not answer there are none. Names that a shell would not take for
    themselves, such as those with blanks or quotes, are not offered.

    \b
    steptrail completion bash > ~/.local/share/bash-completion/completions/steptrail
    steptrail completion zsh > ~/.zfunc/_steptrail           # with ~/.zfunc in fpath, before compinit
    steptrail completion fish > ~/.config/fish/completions/steptrail.fish
    """
    if shell not in SHELLS:
        raise CommandError(
            f"there is no completion for {shell!r}.",
            exit_code=USAGE,
            kind="usage",
            hint=f"one of {', '.join(SHELLS)}.",
        )
    from typer.main import get_command

    from steptrail.deploy.cli.main import build

    os.environ["_STEPTRAIL_COMPLETE"] = f"source_{shell}"
    sys.stdout.flush()
    get_command(build(["completion"])).main([], prog_name="steptrail")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(completion)
