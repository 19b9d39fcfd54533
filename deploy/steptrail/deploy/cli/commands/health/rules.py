"""`steptrail health rules …`: look at the rules, check a file, and change it by command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.consumers.health.rules.rule_names import rule_names
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.misspelt import as_json, unmatched, warn
from steptrail.deploy.terminal.numbers import counted, figure
from steptrail.deploy.terminal.options import Json, Yes, note_dry_run, variable
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json

if TYPE_CHECKING:
    from steptrail.consumers.health.rules.policy import Policy

_HELP = """
The health rules: a TOML file, given by STEPTRAIL_HEALTH_RULES or --file.

A running health consumer reloads it when it changes; a file with a mistake is rejected whole, and the rules in
force stay. Later rules override earlier ones.

\b
steptrail health rules check health.toml
steptrail health rules show --pipeline invoices --step ocr
steptrail health rules set --step ocr errors.bad=0.3 durations.limit=30 --yes
steptrail health rules pin --pipeline invoices --step ocr --error-share 0.05 --yes
steptrail health rules silence --step "nightly*" silence durations --yes

set, pin and silence only show what they would add until they are given --yes.
"""

RulesPath = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="The rules file; default: STEPTRAIL_HEALTH_RULES.",
        show_default=False,
    ),
]
Pipelines = Annotated[str, typer.Option("--pipeline", "-p", help="Name or glob of the pipelines.")]
Steps = Annotated[str, typer.Option("--step", "-s", help="Name or glob of the steps.")]


def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="The rules file; default: STEPTRAIL_HEALTH_RULES.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Check a rules file: every mistake with its line and key (exit 64).

    Names and globs that match no known pipeline or step are a warning, if ClickHouse can be asked. With --json one
    object: file, rules (how many), ok, unknown (kind, name, near).
    """
    from steptrail.consumers.health.rules.rules import Rules

    path = _path(file)
    rules = Rules.load(path).rules
    unknown = unmatched((rule.pipeline, rule.step) for rule in rules)
    if json:
        write_json({"file": str(path), "rules": len(rules), "ok": True, "unknown": as_json(unknown)})
    else:
        say(f"{path} is right: {counted(len(rules), 'rule')}.")
        warn(unknown)


def show_rules(
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="A pipeline's name.")] = "default",
    step: Annotated[str, typer.Option("--step", "-s", help="A step's name.")] = "",
    file: RulesPath = None,
    json: Json = False,
) -> None:
    """Show the parameters in force for one step, defaults included; learned ones are shown as "learned"."""
    from steptrail.consumers.health.rules.policy import Policy
    from steptrail.consumers.health.rules.rules import Rules
    from steptrail.schemas.stored_names import stored_name

    path = _named(file)
    names = stored_name(pipeline), stored_name(step)
    policy, default = (Rules() if path is None else Rules.load(path)).policy(*names), Policy()
    told = {**_parameters(policy), "silenced": sorted(policy.silenced)}
    if json:
        write_json({"pipeline": pipeline, "step_name": step, **_learned(told)})
        return
    table = Table(
        [Column("rule"), Column("value", right=True), Column("default", right=True)],
        title=f"{pipeline} / {step or '(the pipeline itself)'}",
    )
    for group, values in told.items():
        if isinstance(values, dict):
            standard = asdict(default.rules[group])
            absent = {f.name: f.metadata.get("without", "learned") for f in fields(default.rules[group])}
            for key, value in values.items():
                changed = _same(value, standard[key])
                usual = "" if changed else _number(standard[key], absent[key])
                table.add(f"{group}.{key}", _number(value, absent[key]), usual)
        else:
            for value in values:
                table.add(group, str(value), "")
    show(table, first=True)


def set_(
    values: Annotated[list[str], typer.Argument(metavar="KEY=NUMBER…", help="For instance errors.bad=0.3")],
    pipeline: Pipelines = "*",
    step: Steps = "*",
    file: RulesPath = None,
    yes: Yes = False,
) -> None:
    """Set parameters for steps: adds a rule to the file, if the file is valid with it."""
    parsed = {}
    for each in values:
        key, equals, number = each.partition("=")
        try:
            parsed[key.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise CommandError(
                f"{each!r} is not KEY=NUMBER, such as errors.bad=0.3.", exit_code=USAGE, kind="usage"
            )
    _add(file, pipeline, step, parsed, yes=yes)


def pin(
    pipeline: Pipelines = "*",
    step: Steps = "*",
    error_share: Annotated[
        float | None,
        typer.Option("--error-share", help="The share of failures that is normal, such as 0.02."),
    ] = None,
    duration_ms: Annotated[
        float | None,
        typer.Option("--duration-ms", help="The 95th percentile of durations, in milliseconds."),
    ] = None,
    silence_s: Annotated[
        float | None, typer.Option("--silence-s", help="Time without events that is too long, in seconds.")
    ] = None,
    deadline_s: Annotated[
        float | None,
        typer.Option("--deadline-s", help="When a started execution should have ended, in seconds."),
    ] = None,
    file: RulesPath = None,
    yes: Yes = False,
) -> None:
    """Pin a parameter that is otherwise learned: the normal share of failures, the usual duration, a deadline."""
    from steptrail.consumers.health.rules_edit import PINS

    given = {
        "error-share": error_share,
        "duration-ms": duration_ms,
        "silence-s": silence_s,
        "deadline-s": deadline_s,
    }
    values = {PINS[name]: value for name, value in given.items() if value is not None}
    if not values:
        told = ", ".join(f"--{name}" for name in given)
        raise CommandError(f"nothing to pin: give one of {told}.", exit_code=USAGE, kind="usage")
    _add(file, pipeline, step, values, yes=yes)


def silence(
    rules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RULE]…",
            help=f"{', '.join(rule_names())}; none: all of them.",
            show_default=False,
        ),
    ] = None,
    pipeline: Pipelines = "*",
    step: Steps = "*",
    off: Annotated[bool, typer.Option("--off", help="Undo: the rules count again.")] = False,
    file: RulesPath = None,
    yes: Yes = False,
) -> None:
    """Silence rules for steps: their findings are still shown but do not change the verdict. To suppress alerts for a
    while, use `steptrail alerts silence`."""
    if off and rules:
        raise CommandError("--off applies to all rules: give none with it.", exit_code=USAGE, kind="usage")
    _add(file, pipeline, step, {}, [] if off else rules or list(rule_names()), yes=yes)


def _add(
    file: Path | None,
    pipeline: str,
    step: str,
    values: Mapping[str, float],
    silenced: Sequence[str] | None = None,
    *,
    yes: bool,
) -> None:
    from steptrail.consumers.health.rules_edit import add_rule, rule_text

    path = _path(file)
    rule = rule_text(pipeline, step, values, silenced)
    add_rule(path, rule, dry_run=not yes)
    for line in rule.splitlines():
        say(line, folded=False)
    if yes:
        note(f"added to {path}; a running health consumer takes it at once.")
    else:
        note(f"to be added to {path}, which is right with it.")
        note_dry_run()
    warn(unmatched([(pipeline, step)]))


def _path(file: Path | None) -> Path:
    named = _named(file)
    if named is None:
        raise CommandError(
            "no rules file is named.",
            exit_code=USAGE,
            kind="usage",
            hint="name it with --file, or set STEPTRAIL_HEALTH_RULES, for the health consumer too.",
        )
    return named


def _named(file: Path | None) -> Path | None:
    if file is not None:
        return file
    named = variable("health_rules")
    return Path(named).expanduser() if named else None


def _parameters(policy: Policy) -> dict[str, Any]:
    """By rule its parameters; of thresholds, the list."""
    told = {name: asdict(parameters) for name, parameters in policy.rules.items()}
    return {name: values.get(name, values) for name, values in told.items()}


def _learned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _learned(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_learned(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)


def _number(value: Any, absent: str = "learned") -> str:
    return absent if isinstance(value, float) and math.isnan(value) else figure(value, 6)


def rules_group() -> typer.Typer:
    """The commands under `health rules`."""
    group = typer.Typer(help=_HELP, no_args_is_help=True)
    group.command("check")(check)
    group.command("show")(show_rules)
    group.command("set")(set_)
    group.command("pin")(pin)
    group.command("silence")(silence)
    return group
