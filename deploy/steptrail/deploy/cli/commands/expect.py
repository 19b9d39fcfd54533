"""`steptrail expect`: which steps the documents of a pipeline go through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, show, tell, write_json_lines
from steptrail.deploy.terminal.times import show_time
from steptrail.deploy.terminal.visible import distinct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.stores.expected_steps import ExpectedSteps
    from steptrail.schemas.configuration.settings import Settings


def expect(
    pipeline: Annotated[
        str | None,
        typer.Argument(help="The pipeline.", show_default=False, autocompletion=completing.pipelines),
    ] = None,
    steps: Annotated[
        list[str] | None,
        typer.Argument(metavar="STEP...", help="All steps of its documents, in order.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Declare the steps in a TOML file.", show_default=False
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", "-l", help="Show what is declared; change nothing.")
    ] = False,
    nothing: Annotated[bool, typer.Option("--nothing", help="Remove the pipeline's declaration.")] = False,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Declare the steps that each document of a pipeline goes through, so that `steptrail doc` and `steptrail
    incomplete` can say what is missing.

    A declaration replaces the pipeline's earlier one whole; the same one again changes nothing. A file has a
    table [expected_steps] with a list of names for each pipeline, as in invoices = ["fetch", "ocr"]; pipelines
    that it does not name keep what they have, an empty list removes a declaration. It only shows what would change
    until it is given --yes. With --json one object a line: pipeline, steps, declared_at, declared_now, dry_run;
    in a dry run declared_now says that it would be news, declared_at is null, and steps are what would be expected.

    \b
    steptrail expect invoices fetch ocr index --yes
    steptrail expect --file steps.toml --yes
    steptrail expect --list --json
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores.expected_steps import declare_all, expected_steps

    settings = settings_for(directory)
    declarations = None if list_ else _declarations(settings, pipeline, steps, file, nothing)
    if list_ and (steps or file or nothing):
        raise _usage("--list only shows: it takes no steps, no file and no --nothing.")
    with connect(settings) as clickhouse:
        news: list[str] = []
        if declarations is not None:
            news = declare_all(
                clickhouse, declarations, max_name_bytes=settings.max_name_bytes, dry_run=not yes
            )
        declared = expected_steps(clickhouse, pipeline)
        near = [] if declared or pipeline is None or not list_ else _near(clickhouse, pipeline)
    if declarations is not None:
        declared = [each for each in declared if each.pipeline in declarations]
        if not yes:
            declared = _planned(declared, declarations, news)
    dry_run = declarations is not None and not yes
    taken_back = [name for name, wanted in (declarations or {}).items() if not wanted]
    if json:
        write_json_lines(
            [
                *(
                    {
                        "pipeline": each.pipeline,
                        "steps": each.steps,
                        "declared_at": None if dry_run and each.pipeline in news else each.declared_at,
                        "declared_now": each.pipeline in news,
                        "dry_run": dry_run,
                    }
                    for each in declared
                ),
                *(
                    {
                        "pipeline": name,
                        "steps": [],
                        "declared_at": None,
                        "declared_now": name in news,
                        "dry_run": dry_run,
                    }
                    for name in taken_back
                ),
            ]
        )
        return
    _show(declared, news, changing=declarations is not None, dry_run=dry_run)
    for name in taken_back:
        is_ = "would be" if dry_run and name in news else "is"
        note(f"Nothing {is_} expected of pipeline {name}{' any more' if name in news else ', as before'}.")
    if dry_run:
        note(f"{counted(len(news), 'pipeline')} would change.")
        note_dry_run()
    if not declared and not taken_back:
        note("No steps are declared" + (f" for pipeline {pipeline}." if pipeline else " for any pipeline."))
    if near:
        tell("near:", "bold", "\n".join(map(distinct, near)))


def _planned(
    declared: Sequence[ExpectedSteps], wanted: Mapping[str, Sequence[str]], news: Sequence[str]
) -> list[ExpectedSteps]:
    """What would be declared: where it is news, what is wanted, of this moment."""
    from datetime import datetime, timezone

    from steptrail.projections.stores.expected_steps import ExpectedSteps

    now = datetime.now(timezone.utc)
    changed = [ExpectedSteps(name, tuple(wanted[name]), now) for name in news if wanted[name]]
    return sorted(
        [*changed, *(each for each in declared if each.pipeline not in news)], key=lambda each: each.pipeline
    )


def _near(clickhouse: ClickHouse, pipeline: str) -> list[str]:
    """The pipelines with a declaration whose names look like this one."""
    from steptrail.projections.stores.expected_steps import expected_steps
    from steptrail.schemas.near_names import near_names

    return near_names(pipeline, [each.pipeline for each in expected_steps(clickhouse)])


def _declarations(
    settings: Settings, pipeline: str | None, steps: list[str] | None, file: Path | None, nothing: bool
) -> Mapping[str, Sequence[str]]:
    """What the command line declares; raises CommandError for contradictory or missing arguments."""
    if file is not None:
        if pipeline is not None or nothing:
            raise _usage("--file takes no pipeline, no steps and no --nothing.")
        from steptrail.projections.stores.expected_steps_file import read_expected_steps

        return read_expected_steps(file, max_name_bytes=settings.max_name_bytes)
    if pipeline is None:
        raise _usage("name a pipeline and its steps, or give --file or --list.")
    if nothing and steps:
        raise _usage("steps and --nothing exclude each other.")
    if not nothing and not steps:
        raise _usage(
            f"name the steps of pipeline {pipeline!r}.",
            hint=f"--list {pipeline} shows what is declared; --nothing takes it back.",
        )
    return {pipeline: steps or []}


def _show(
    declared: Sequence[ExpectedSteps], news: Sequence[str], *, changing: bool, dry_run: bool = False
) -> None:
    if not declared:
        return
    columns = [
        Column("pipeline"),
        Column("expected steps", 3, wrap="words"),
        Column("declared (UTC)", 2),
        Column("news"),
    ]
    table = Table(columns)
    for each in declared:
        is_news = each.pipeline in news
        news_or_not = (("would be" if dry_run else "now") if is_news else "as before") if changing else ""
        when = "" if dry_run and is_news else show_time(each.declared_at)
        table.add(each.pipeline, ", ".join(each.steps), when, news_or_not)
    show(table)


def _usage(message: str, hint: str | None = None) -> CommandError:
    return CommandError(
        message, exit_code=USAGE, kind="usage", hint=hint or "steptrail expect --help shows how."
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(expect)
