"""Fill the marked blocks of docs/health.md: `python tests/health_sim/table.py [figures.jsonl …] [docs/health.md]`.

The block `<!-- parameters -->` is every parameter of the rules with its default, from the code; `<!-- figures -->` the
lines that `make health-sim` printed, with machine and date. Of a figure that stands in several files the last one
holds. Without files of figures only the parameters are written.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from steptrail.consumers.health.rules.parameters import RatioPolicy
from steptrail.consumers.health.rules.registry import policies
from support.marked_block import fill, json_lines

NAMES: dict[str, str] = {
    "error_detection_p99_s_at_10_per_s": "errors rise from 1 to 20 % at 10/s: until it is said, p99",
    "error_detection_p99_s_at_1_per_s": "… at 1/s",
    "error_detection_p99_s_at_0.1_per_s": "… at 0.1/s",
    "error_detection_p99_s_from_5_percent_at_10_per_s": "errors rise from 5 to 20 % at 10/s, p99",
    "error_false_alarms_at_1_percent": "false alarms at a constant 1 %, 0.01 to 100/s, 1,000 days of each",
    "error_false_alarms_at_5_percent": "… at a constant 5 %",
    "fixed_window_false_alarms_in_1000_days": "for comparison: a fixed window on such days, at its worst rate",
    "error_burst_false_alarms": "five errors within 5 s, three times a day at 1/s: false alarms",
    "error_cluster_20_in_20_s_alarmed": "20 errors within 20 s at 1/s: how often that is an alarm",
    "cold_start_false_alarms": "slow successes, fast failures, cold start: false alarms",
    "error_transitions_worst_day": "shares that hover at the thresholds: changes on the worst day",
    "error_recovery_p99_s": "recovery at 10/s: until it is said, p99",
    "error_creep_noticed_at": "a creep from 1 to 30 % over ten days is noticed at, median",
    "durations_doubled_p99_s": "durations double at 10/s: until it is said, p99, widest spread",
    "durations_false_alarms": "false alarms on durations that stay",
    "silence_p99_s_at_1_per_s": "a steady 1/s stops: until it is said, p99",
    "silence_false_alarms": "false alarms on silence, after two weeks of history",
    "stuck_precision": "stalled: precision, with reordering, duplicates and a pause of 20 min",
    "stuck_recall": "stalled: recall",
    "queued_precision": "PENDING past a declared deadline: precision, with queues that wait for hours and days",
    "queued_recall": "… recall",
    "queued_until_said_s": "… from the deadline until it is said, at most",
    "watermark_incomplete_slots": "verdicts on slots that were not complete",
    "time_to_unknown_s": "partition behind or broker away, simulated: until UNKNOWN, at most",
    "healthy_said_while_blind": "HEALTHY said with now − W > 60 s, simulated",
    "consumer_time_to_unknown_s": "the real consumer: partition behind, it killed, broker or store away: until UNKNOWN",
    "consumer_healthy_said_while_blind": "the real consumer: HEALTHY said more than 60 s after that",
    "health_consumer_vs_projector": "the health consumer's speed / the projector's",
    "health_check_p99_ms": "`perform_health_check`, all up, p99",
    "error_group_messages_per_s": "error messages put into groups, 20,000 different ones",
    "state_mib_of_10000_steps": "memory of 10,000 steps with four weeks of history",
    "error_rule_bytes_per_step": "of it the error rule, for each step",
    "fold_slot_of_10000_steps_ms": "judging one slot of 10,000 busy steps",
}
"""What the page calls each figure, in its order. A module of `figures` may have names of its own, as `NAMES`; these
follow."""
UNITS = {
    "alarms": "",
    "of 100": " of 100",
    "changes": "",
    "records": "",
    "times": "",
    "share": "",
    "ratio": " ×",
    "messages/s": " /s",
}


def beside(line: dict[str, Any]) -> str:
    """What belongs beside the value of some figures."""
    detail = line["detail"]
    texts: dict[str, Callable[[], str]] = {
        "error_detection": lambda: f"p50 {detail['p50']} s, {detail['trials']:,} trials",
        "error_false_alarms": lambda: f"{detail['step_days']:,} step-days",
        "error_burst": lambda: (
            f"{detail['step_days']:,} days; in {detail['pairs_of_bursts_within_a_minute']} two bursts fell into one "
            f"minute, alarms after these: {detail['alarms_after_such_a_pair']}"
        ),
        "error_cluster": lambda: ", ".join(f"{name}: {share:.0%}" for name, share in detail.items()),
        "error_creep": lambda: "; ".join(f"{name}: {found['p50']:.1%}" for name, found in detail.items()),
        "error_transitions": lambda: f"median {detail['median']:g}, {detail['step_days']:,} step-days",
        "error_recovery": lambda: (
            f"p50 {detail['10/s']['p50']} s; normal 5 %: p99 {detail['10/s, normal 5 %']['p99']} s"
        ),
        "durations_doubled": lambda: ", ".join(
            f"σ {name.split()[1]}: {found['p99']} s" for name, found in detail.items() if "sigma" in name
        ),
        "durations_false": lambda: f"{detail['step_days']:,} step-days at 10/s, 1/s and 0.1/s",
        "silence_p99": lambda: (
            f"0.1/s: {detail['steady 0.1/s']['p99']} s; "
            f"office hours, at half past ten: {detail['office hours, at half past ten']['p99']} s"
        ),
        "silence_false": lambda: ", ".join(
            f"{name}: {detail['alarms'][name]} in {days:,} days" for name, days in detail["step_days"].items()
        ),
        "stuck_precision": lambda: (
            f"{detail['said']} of {detail['executions']:,}; by the wall clock {detail['precision_by_the_wall_clock']}"
        ),
        "watermark": lambda: (
            f"{detail['slots']:,} slots in {detail['interleavings']} interleavings; by a maximum over partitions "
            f"{detail['records_too_late_for_a_maximum_over_partitions']:,} records"
        ),
        "time_to": lambda: ", ".join(f"{name}: {found['max']} s" for name, found in detail.items()),
        "consumer_time": lambda: "; ".join(
            f"{name}: {found['to_unknown_s']} s, by SQL {found['to_unknown_by_sql_s']} s"
            for name, found in detail.items()
        ),
        "consumer_healthy": lambda: f"asked {detail['asked']:,} times",
        "health_check": lambda: (
            f"p50 {detail['p50_ms']} ms; nothing up: {detail['nothing_up_at_most_ms']} ms at most"
        ),
        "error_group": lambda: f"{detail['messages']:,} messages, {detail['groups']} groups",
        "health_consumer": lambda: (
            f"{detail['health_events_per_s']:,.0f} events/s; the projector {detail['projector_events_per_s']:,.0f}"
        ),
    }
    return next((text() for name, text in texts.items() if line["figure"].startswith(name)), "")


def figures_block(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of the figures, in the order of NAMES, and a line with machine and date."""
    found = {line["figure"]: line for line in lines}
    rows = ["| | measured | | asked |", "|---|---|---|---|"]
    for name, meaning in {**NAMES, **_own_names()}.items():
        if name in found:
            line = found[name]
            value = f"{line['value']:,g}{UNITS.get(line['unit'], ' ' + line['unit'])}"
            missed = "" if line["ok"] else " **missed**"
            rows.append(f"| {meaning} | {value} | {beside(line)} | {line['bound']}{missed} |")
    machine = lines[-1]["machine"]
    rows += [
        "",
        f"`make health-sim`, seed {lines[-1]['seed']}, {lines[-1]['date']}: {machine['cores']} cores "
        f"({machine['cpu']}), {machine['memory_gib']} GiB, Python {machine['python']}. "
        "What is simulated does not depend on the machine.",
    ]
    return "\n".join(rows)


def _own_names() -> dict[str, str]:
    folder = str(Path(__file__).parent / "figures")
    names: dict[str, str] = {}
    for each in pkgutil.iter_modules([folder]):
        names |= getattr(importlib.import_module(f"health_sim.figures.{each.name}"), "NAMES", {})
    return names


def parameters_block() -> str:
    """A Markdown table of every parameter; what rules on a share have in common stands once, with every default."""
    rows = ["| parameter | default | from … to | |", "|---|---|---|---|"]
    ratios = {name: kind for name, kind in policies().items() if issubclass(kind, RatioPolicy)}
    for f in fields(RatioPolicy):
        own = {name: next(x for x in fields(kind) if x.name == f.name) for name, kind in ratios.items()}
        defaults = dict.fromkeys(_number(each.default) for each in own.values())
        rows.append(_row(", ".join(f"`{name}.{f.name}`" for name in own), ", ".join(defaults), f))
    shared = {f.name for f in fields(RatioPolicy)}
    for name, kind in policies().items():
        own_fields = (f for f in fields(kind) if "low" in f.metadata)
        rows += [
            _row(f"`{name}.{f.name}`", f.metadata.get("without", _number(f.default)), f)
            for f in own_fields
            if not (name in ratios and f.name in shared)
        ]
    return "\n".join(rows)


def _row(name: str, default: str, parameter: Field[Any]) -> str:
    low, high = (_number(parameter.metadata[end]) for end in ("low", "high"))
    return f"| {name} | {default} | {low} … {high} | {parameter.metadata['doc']} |"


def _number(value: Any) -> str:
    return "learned" if math.isnan(value) else f"{value:,.10g}" if value < 1e8 else f"{value:g}"


def main(*names: str) -> None:
    """Write the page that is named, or docs/health.md."""
    pages = [name for name in names if name.endswith(".md")]
    page = pages[0] if pages else str(Path(__file__).parents[2] / "docs" / "health.md")
    fill(page, "parameters", parameters_block())
    if lines := json_lines(*(name for name in names if not name.endswith(".md"))):
        fill(page, "figures", figures_block(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
