"""`steptrail health replay`: rules evaluated over past data."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.options import Json, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_time
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.consumers.health.replay import Change

_DAY_S = 86_400.0


def replay(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "7d",
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="The rules to try; default: the built-in parameters.",
            show_default=False,
        ),
    ] = None,
    warm_up: Annotated[
        float,
        typer.Option("--warm-up", metavar="DAYS", min=0, help="Days before --since that are learned from."),
    ] = 1.0,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Evaluate rules over past data: a dry run that changes nothing and sends no alerts.

    Silence is only judged after two weeks of history: with --warm-up 14 it is. Stalled executions are not looked
    for. With --json one object: since, until, counts (by rule and status), changes. Exits 0, whatever is found.

    \b
    steptrail health replay --since 7d --rules health.toml
    steptrail health replay --since 1d --json | jq .counts
    """
    from steptrail.consumers.health.replay import replay as replayed
    from steptrail.consumers.health.rules.rules import Rules
    from steptrail.projections.clickhouse.client import connect

    if rules is not None and not rules.exists():
        raise CommandError(f"{rules} does not exist.", exit_code=USAGE, kind="usage")
    tried = Rules() if rules is None else Rules.load(rules)
    begin, end = parse_since(since).timestamp(), datetime.now(timezone.utc).timestamp()
    with connect(settings_for(directory)) as clickhouse:
        changes = list(replayed(clickhouse, tried, begin, end, warm_up_s=warm_up * _DAY_S))
    counts = Counter(
        (finding.rule, finding.status.value)
        for change in changes
        if change.verdict.step is not None and change.verdict.status.weight
        for finding in change.verdict.findings
        if not finding.silenced
    )
    if json:
        write_json(
            {
                "since": _moment(begin),
                "until": _moment(end),
                "counts": [
                    {"rule": rule, "status": status, "count": n}
                    for (rule, status), n in sorted(counts.items())
                ],
                "changes": [named(_told(change)) for change in changes],
            }
        )
    else:
        _show(changes, counts)


def _told(change: Change) -> dict[str, Any]:
    verdict = change.verdict
    return {
        **verdict.as_dict(),
        "before": change.before.value if change.before else None,
        "since": _moment(verdict.since),
        "at": _moment(verdict.at),
    }


def _show(changes: list[Change], counts: Counter[tuple[str, str]]) -> None:
    steps = [change for change in changes if change.verdict.step is not None]
    if not steps:
        say("Nothing would have been said: every step was healthy all the time.")
        return
    columns = [
        Column("at (UTC)"),
        Column("pipeline", 2),
        Column("step"),
        Column("before", 3),
        Column("then"),
        Column("why", 4, wrap="words"),
    ]
    table = Table(columns)
    for change in steps:
        verdict = change.verdict
        table.add(
            show_time(_moment(verdict.at)),
            verdict.pipeline,
            verdict.step,
            change.before.value if change.before else "",
            verdict.status.value,
            verdict.sentence,
        )
    show(table)
    told = ", ".join(f"{rule} {status} {n} x" for (rule, status), n in sorted(counts.items()))
    note(f"{len(steps)} changes: {told}")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
