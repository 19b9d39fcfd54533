"""`steptrail grants`: the SQL that gives each part, and people who only read, a user with what it needs."""

from __future__ import annotations

from typing import Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.options import Json, variable
from steptrail.deploy.terminal.output import say, write_json_lines


def grants(
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            help="Only this one: migrator, projector, health, alerts, web, operator, analyst; several may be given.",
            show_default=False,
        ),
    ] = None,
    analyst: Annotated[
        str | None,
        typer.Option("--analyst", metavar="NAME", help="Only an analyst of this name.", show_default=False),
    ] = None,
    pipelines: Annotated[
        str | None,
        typer.Option(
            "--pipelines",
            metavar="A,B",
            help="The pipelines that this analyst sees, with commas between; default: all.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            help="steptrail's database; STEPTRAIL_CLICKHOUSE's, else steptrail.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Start of the names of roles and users.")
    ] = "steptrail",
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="NAME", help="Write each statement ON CLUSTER NAME.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print the SQL for users of ClickHouse with the least rights that each part needs.

    It asks nobody and changes nothing: review it, put the SHA-256 of each password in its place, and run it as a user
    with access management (docs/access.md). Statements are idempotent; run them again after each upgrade. With --json
    one object a line: role, sql, comment.

    \b
    steptrail grants
    steptrail grants --part projector --part health
    steptrail grants --analyst anna --pipelines invoices,letters
    """
    from steptrail.projections.access.parts import parts
    from steptrail.projections.access.statements import Granting

    granting = Granting(database or _database(), prefix, cluster)
    found = {each.name: granting.part(each) for each in parts()}
    named = [each.strip() for each in (pipelines or "").split(",") if each.strip()]
    if pipelines is not None and not named:
        raise CommandError("--pipelines names none.", exit_code=USAGE, kind="usage")
    found["analyst"] = granting.analyst(analyst, named)
    chosen = part or (["analyst"] if analyst is not None or named else list(found))
    for name in chosen:
        if name not in found:
            known = ", ".join(found)
            raise CommandError(f"there is no part {name!r}: {known}.", exit_code=USAGE, kind="usage")
    statements = [statement for name in found if name in chosen for statement in found[name]]
    if json:
        write_json_lines({"role": each.role, "sql": each.sql, "comment": each.comment} for each in statements)
        return
    role = None
    for each in statements:
        if role not in (None, each.role):
            say("")
        role = each.role
        if each.comment:
            say(f"-- {each.comment}", folded=False)
        say(f"{each.sql};", folded=False)


def _database() -> str:
    from steptrail.schemas.configuration.clickhouse_target import parse_clickhouse_url

    url = variable("clickhouse")
    try:
        return parse_clickhouse_url(url).database if url else "steptrail"
    except ValueError as error:
        raise CommandError(f"STEPTRAIL_CLICKHOUSE: {error}", exit_code=USAGE, kind="usage") from None


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(grants)
