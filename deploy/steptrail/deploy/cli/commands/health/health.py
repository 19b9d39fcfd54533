"""`steptrail health`: how everything is, for people, scripts and probes; and the rules that it is judged by."""

from __future__ import annotations

import json as json_module
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.health.replay import replay
from steptrail.deploy.cli.commands.health.rules import rules_group
from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for, spelled_out
from steptrail.deploy.terminal.output import Column, Styled, Table, note, say, show, tell, write_json
from steptrail.deploy.terminal.times import show_time
from steptrail.deploy.terminal.visible import distinct
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.consumers.health.check import HealthCheck
    from steptrail.projections.stores.health_store import StoredVerdict
    from steptrail.schemas.configuration.settings import Settings

_HELP = """
Overall health with its evidence; the exit code reflects it.

UNKNOWN, never HEALTHY, when the answer cannot be believed: the health consumer does not run or is behind, the
store or the broker does not answer. With --json one object: status, pipeline, step_name, near (names that may have
been meant, where nothing is known of the one that was asked for), sentence, findings (rule, status, sentence,
data), since, until (up to when the topic was judged), evidence_at (when the findings were as they are told),
checked_at, troubled (steps and pipelines in scope that are not healthy, each with the time of its evidence as at).

\b
Exit codes:
    0  HEALTHY
    1  WARNING
    2  CRITICAL
    3  UNKNOWN
   64  a mistake in the command, the settings or a rules file

\b
steptrail health
steptrail health --pipeline invoices --step ocr
steptrail health --json | jq -r .sentence
steptrail health rules check health.toml        is the file right?
steptrail health replay --since 7d --rules health.toml
"""

CODES = {"HEALTHY": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
_FRESH_S = 15.0
_STYLES = {"HEALTHY": "green", "WARNING": "yellow", "CRITICAL": "bold red", "UNKNOWN": "magenta"}

Step = Annotated[
    str | None,
    typer.Option(
        "--step",
        "-s",
        help="Only this step; names its --pipeline too.",
        show_default=False,
        callback=spelled_out,
        autocompletion=completing.steps,
    ),
]


def health(
    context: typer.Context,
    pipeline: Pipeline = None,
    step: Step = None,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """How everything is; `_HELP` is what people read."""
    if context.invoked_subcommand is not None:
        return
    if step is not None and pipeline is None:
        raise CommandError("--step needs its --pipeline.", exit_code=USAGE, kind="usage")
    from steptrail.consumers.health.check import HealthCheckManager

    settings = settings_for(directory)
    with HealthCheckManager(settings) as manager:
        check = manager.perform_health_check(pipeline, step)
    troubled, near = _troubled(settings, check), _near(settings, check)
    if json:
        told = {**check.as_dict(), **_times(check), "troubled": [_told(each) for each in troubled]}
        told["findings"] = _findings(told["findings"])
        write_json({**named(told), "near": near})
    else:
        _show(check, troubled)
        if near:
            tell("near:", "bold", "\n".join(map(distinct, near)))
    raise typer.Exit(CODES[check.status.value])


def _troubled(settings: Settings, check: HealthCheck) -> list[StoredVerdict]:
    """The steps and pipelines in scope that are not healthy; none where the store does not answer."""
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.errors import QueryError
    from steptrail.projections.stores.health_store import stored_verdicts
    from steptrail.schemas.errors import InfrastructureError

    if check.step is not None or any(finding.rule == "store" for finding in check.findings):
        return []
    scope = "status != 'HEALTHY' AND pipeline != ''"
    if check.pipeline is not None:
        scope += " AND pipeline = {pipeline:String} AND step_name != ''"
    try:
        with connect(settings, timeout=5.0) as clickhouse:
            return stored_verdicts(clickhouse, scope, check.pipeline or "")
    except (InfrastructureError, QueryError):
        return []


def _near(settings: Settings, check: HealthCheck) -> list[str]:
    """Where nothing was judged of the name that was asked for: known names that look like it."""
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.errors import QueryError
    from steptrail.projections.reading.known_names import unknown_name
    from steptrail.schemas.errors import InfrastructureError

    if check.pipeline is None or check.since is not None or any(f.rule == "store" for f in check.findings):
        return []
    try:
        with connect(settings, timeout=5.0) as clickhouse:
            unknown = unknown_name(clickhouse, check.pipeline, check.step)
    except (InfrastructureError, QueryError):
        return []
    return [] if unknown is None else list(unknown.near)


def _times(check: HealthCheck) -> dict[str, Any]:
    moments = {
        "since": check.since,
        "until": check.until,
        "evidence_at": check.evidence_at,
        "checked_at": check.checked_at,
    }
    return {name: None if at is None else _moment(at) for name, at in moments.items()}


def _findings(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings with the times in their data as times."""
    return [
        {**each, "data": {key: _time(key, value) for key, value in each["data"].items()}} for each in found
    ]


def _time(key: str, value: Any) -> Any:
    moment = key in ("reported_at", "watermark") and isinstance(value, (int, float))
    return _moment(value) if moment else value


def _told(verdict: StoredVerdict) -> dict[str, Any]:
    return {
        "pipeline": verdict.pipeline,
        "step_name": verdict.step_name or None,
        "status": verdict.status,
        "sentence": verdict.sentence,
        "since": _moment(verdict.since),
        "at": _moment(verdict.at),
        "findings": _findings(json_module.loads(verdict.findings)),
    }


def _show(check: HealthCheck, troubled: list[StoredVerdict]) -> None:
    status = check.status.value
    whom = " / ".join(distinct(name) for name in (check.pipeline, check.step) if name) or "everything"
    since = f" since {show_time(_moment(check.since))} UTC" if check.since else ""
    say(f"{status}  {whom}{since}", style=_STYLES[status])
    for finding in check.findings or ():
        silenced = " (silenced)" if finding.silenced else ""
        say(f"  {finding.rule}: {finding.sentence}{silenced}")
    if not check.findings:
        say(f"  {check.sentence}")
    if troubled and check.step is None:
        columns = [
            Column("pipeline"),
            Column("step"),
            Column("status"),
            Column("since (UTC)", 3),
            Column("why", 4, wrap="words"),
        ]
        table = Table(columns, title="Not healthy")
        for each in troubled[:50]:
            table.add(
                each.pipeline,
                each.step_name or "(all)",
                Styled(each.status, _STYLES.get(each.status, "")),
                show_time(_moment(each.since)),
                each.sentence,
            )
        show(table)
        if len(troubled) > 50:
            note(f"and {len(troubled) - 50} more; --pipeline narrows it down, --json has them all")
    if check.until is not None:
        note(f"judged up to {show_time(_moment(check.until))} UTC{_age(check, troubled)}")


def _age(check: HealthCheck, troubled: list[StoredVerdict]) -> str:
    """When the figures that are shown are from, where they are older than the verdict."""
    moments = [each.at for each in troubled] + ([] if check.evidence_at is None else [check.evidence_at])
    if check.until is None or not moments or check.until - min(moments) < _FRESH_S:
        return ""
    return f"; the figures are those of {show_time(_moment(min(moments)))} UTC or later"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def register(app: typer.Typer) -> None:
    """Add `health` and what is under it."""
    group = typer.Typer(help=_HELP, invoke_without_command=True)
    group.callback(help=_HELP)(health)
    group.add_typer(rules_group(), name="rules")
    group.command("replay")(replay)
    app.add_typer(group, name="health")
