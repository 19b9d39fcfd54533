"""`steptrail shards`: in which shard each Kafka partition is, and how it comes to another one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import Column, Table, show, write_json_lines


def shards(
    hand_over: Annotated[
        bool,
        typer.Option("--hand-over", help="Move the partitions that are not where they belong; needs --yes."),
    ] = False,
    use: Annotated[
        int | None,
        typer.Option(
            "--use",
            metavar="N",
            help="Partitions belong to the first N shards alone, so that the others can be taken away.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show in which shard of ClickHouse each Kafka partition is written, and move those that do not belong there.

    After another shard was added to STEPTRAIL_CLICKHOUSE_SERVERS, projectors write nothing of a partition that would
    change its shard until it is handed over. Projectors may run meanwhile. Before a shard is taken away its partitions
    are handed over with --use. Exits 1 when a partition is not where it belongs. With --json one object a line:
    projection, topic, topic_id, partition, open_in, belongs_to, high_water.

    \b
    steptrail shards                              where each is, and where it belongs
    steptrail shards --hand-over --yes            after a shard was added
    steptrail shards --use 2 --hand-over --yes    before others than the first two are taken away
    """
    from steptrail.projections.clickhouse.shards import Shards, connect_shards
    from steptrail.projections.cluster.handover import hand_over as move
    from steptrail.projections.cluster.handover import placements

    with connect_shards(settings_for(directory)) as connected:
        try:
            placed = Shards(connected.stores, use)
        except ValueError as error:
            raise CommandError(f"--use {use}: {error}.", exit_code=USAGE, kind="usage") from None
        found = placements(placed)
        if hand_over and yes:
            for each in found:
                move(placed, each)
            found = placements(placed)
    if json:
        write_json_lines(asdict(each) for each in found)
    else:
        table = Table(
            [
                Column("projection"),
                Column("topic", 2),
                Column("partition"),
                Column("shard"),
                Column("belongs to"),
            ]
        )
        for each in found:
            is_in = ", ".join(map(str, each.open_in)) or "none"
            table.add(each.projection, each.topic, str(each.partition), is_in, str(each.belongs_to))
        show(table)
    if hand_over and not yes:
        note_dry_run()
    if not all(each.right for each in found):
        raise typer.Exit(NO)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(shards)
