"""`steptrail acls`: the rights in Kafka that each part needs, for whoever grants them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.options import StackDir, settings_for
from steptrail.deploy.terminal.output import say

if TYPE_CHECKING:
    from collections.abc import Iterable


class Format(str, Enum):
    """What is printed."""

    COMMANDS = "commands"
    YAML = "yaml"


def acls(
    principal: Annotated[
        list[str] | None,
        typer.Option(
            "--principal",
            metavar="ROLE=USER",
            help="Whom a role is given to, such as emitter=User:ocr; as often as needed. Default: User:steptrail-ROLE.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="Only this role; as often as needed. Default: all.", show_default=False),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.COMMANDS,
    command_config: Annotated[
        str, typer.Option("--command-config", help="The file by which kafka-acls reaches the brokers.")
    ] = "admin.properties",
    cluster: Annotated[
        str, typer.Option("--cluster", help="Name of the Strimzi cluster, in YAML.")
    ] = "my-cluster",
    directory: StackDir = None,
) -> None:
    """Print the rights in Kafka that each part needs, and none that it does not.

    Roles: admin (creates the topics), emitter, projector, health, alerts, operator (the command line), web. Topics
    and groups have the prefix that STEPTRAIL_TOPIC_PREFIX says. As kafka-acls commands, or as KafkaUser entries of
    the Strimzi operator. Nothing is asked and nothing is changed: whoever may grant rights runs what is printed.

    \b
    steptrail acls
    steptrail acls --principal emitter=User:ocr --role emitter
    steptrail acls --format yaml --cluster production
    """
    from steptrail.schemas.access.acl_forms import as_commands, as_yaml
    from steptrail.schemas.access.rights import ROLES, rights
    from steptrail.schemas.topic_specs import Topics

    named = _principals(principal or (), ROLES)
    for each in role or ():
        _known(each, ROLES)
    wanted = [each for each in ROLES if not role or each in role]
    principals = {each: named.get(each, f"User:steptrail-{each}") for each in wanted}
    settings = settings_for(directory)
    granted = rights(Topics.from_settings(settings))
    lines = (
        as_yaml(granted, principals, cluster)
        if format_ is Format.YAML
        else as_commands(granted, principals, settings.kafka, config_file=command_config)
    )
    for line in lines:
        say(line, folded=False)


def _principals(given: Iterable[str], roles: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        role, equals, principal = text.partition("=")
        if not equals or not principal:
            raise CommandError(
                f"--principal {text}: expected ROLE=USER, such as emitter=User:ocr.",
                exit_code=USAGE,
                kind="usage",
            )
        # Kafka's principals have a type; User is the one that there is by default.
        found[_known(role, roles)] = principal if ":" in principal else f"User:{principal}"
    return found


def _known(role: str, roles: tuple[str, ...]) -> str:
    if role not in roles:
        raise CommandError(
            f"there is no role {role!r}.", exit_code=USAGE, kind="usage", hint=f"roles: {', '.join(roles)}"
        )
    return role


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(acls)
