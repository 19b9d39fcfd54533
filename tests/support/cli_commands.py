"""The commands of the application, asked from the application itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def commands(group: Any, path: str = "") -> Iterator[str]:
    """Every command of the application that does something, by its words."""
    for name, command in getattr(group, "commands", {}).items():
        words = f"{path} {name}".strip()
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield words
        yield from commands(command, words)


def commands_with(group: Any, option: str) -> Iterator[str]:
    """Every command that takes this option."""
    for words in commands(group):
        command = group
        for word in words.split():
            command = command.commands[word]
        if any(option in parameter.opts for parameter in command.params):
            yield words


def commands_with_yes() -> list[str]:
    """Every command that changes something only with --yes."""
    from typer.main import get_command

    from steptrail.deploy.cli.main import build

    return list(commands_with(get_command(build([])), "--yes"))
