"""Put the figures of a run into the README: `python tests/bench/table.py figures.jsonl [README.md]`.

Reads the lines that `make bench` printed and writes a table, with machine and date, between the two comments
`<!-- figures -->` of the README, or to standard output when no README is named.
"""

from __future__ import annotations

import sys
from typing import Any

from support.marked_block import fill, json_lines

NAMES = {
    "projection_vs_handwritten": "from Kafka to all tables, against the consumer that everyone writes",
    "cpu_vs_handwritten": "processor time from Kafka to all tables, against that consumer's",
    "projection_vs_engine_copy": "from Kafka to all tables, against the engine's own copy of the rows",
    "step_vs_otel_span": "a worker's time for a whole step by two `add_step`, against one OpenTelemetry span",
    "step_block_cost": "a worker's time for a whole step by `with manager.step()`, against two `add_step`",
    "emit_p99_us": "a worker's time for one event, p99, Kafka up or down",
    "redaction_cost": "`add_step` with redaction on / without",
    "spool_cost": "`add_step` with a spool, broker up / without",
    "journal_cost": "`add_step` with a journal, broker up / without",
    "ledger_cost": "from Kafka to all tables with the ledger / without",
    "poison_cost": "from Kafka to all tables with 1 % poison / without",
    "secured_cost": "from three Kafka brokers to all tables over SASL_SSL / over plain text",
    "two_shards_vs_one": "from Kafka to all tables in two shards / in one, the same machine",
    "leader_killed_s": "the leader of a partition killed: longest time without an acknowledgement",
    "emit_to_readable_s": "from emit to readable at 5,000 events/s, p50",
    "first_rows_s": "from the start of the projector, 300,000 events waiting, to the first rows",
    "recovery_s": "from kill -9 of the projector to caught up, at 5,000 events/s",
    "timeline_p99_ms": "one document's timeline among 10M events, p99",
    "recent_errors_p99_ms": "the last 100 errors among 10M events, p99",
    "page_p95_ms": "the overview complete in Chromium at 10M events, p95",
    "page_weight_kb": "the overview's first view over the wire, everything",
    "api_p99_ms": "the API with 20 readers while 5,000 events/s are projected, p99",
    "search_s": "search for a part of an error in a day of 10M events, slowest",
    "export_s": "export of 10M events to Parquet",
    "bytes_per_event": "on disk for an event, `steps` with its projection",
    "projector_peak_rss_mb": "the projector's memory at full speed, peak",
    "idle_stack": "projector, health, engine and broker at 10 events/s",
    "stack_ready_s": "`steptrail up` to READY in an empty folder",
}
UNITS = {"ratio": "×", "us": " µs", "bytes": " bytes"}


def beside(line: dict[str, Any]) -> str:
    """What belongs beside the value of some figures."""
    detail = line["detail"]
    texts = {
        "projection_vs_handwritten": lambda: f"{detail['ours_events_per_s']:,.0f} events/s",
        "projection_vs_engine_copy": lambda: f"copy {detail['copy_events_per_s']:,.0f} rows/s",
        "cpu_vs_handwritten": lambda: (
            f"{sum(detail['ours_us'].values()):.1f} µs, {sum(detail['handwritten_us'].values()):.1f} µs an event"
        ),
        "step_vs_otel_span": lambda: f"{detail['step_us']} µs, {detail['span_us']} µs",
        "step_block_cost": lambda: f"{detail['block_us']} µs, {detail['vs_otel_span']} × a span",
        "ledger_cost": lambda: f"{detail['with_events_per_s']:,.0f} events/s",
        "poison_cost": lambda: f"{detail['poisoned_events_per_s']:,.0f} events/s",
        "secured_cost": lambda: f"{detail['sasl_ssl_events_per_s']:,.0f} events/s",
        "two_shards_vs_one": lambda: f"{detail['two_shards_events_per_s']:,.0f} events/s",
        "leader_killed_s": lambda: f"lost {detail['lost']}, double {detail['double']}",
        "recovery_s": lambda: f"{detail['on_another_machine']} s on another machine",
        "first_rows_s": lambda: f"all rows {detail['all_rows_s']} s",
        "idle_stack": lambda: f"{detail['memory_mb']} MB; {detail['parts_per_hour']:,.0f} parts an hour",
        "emit_p99_us": lambda: (
            f"p50 {detail['broker_up']['p50']} µs, "
            f"p99.9 {max(detail['broker_up']['p99_9'], detail['broker_down']['p99_9'])} µs"
        ),
        "emit_to_readable_s": lambda: f"p99 {detail['p99']} s",
        "timeline_p99_ms": lambda: f"{detail['ratio_of_medians']} × that of 1M (medians)",
        "page_p95_ms": lambda: (
            f"failing {detail['p95_ms']['failing']} ms, document {detail['p95_ms']['document']} ms; where others"
            f" asked just before: {', '.join(str(ms) for ms in detail['kept_p95_ms'].values())} ms"
        ),
        "page_weight_kb": lambda: f"{detail['requests']} requests",
        "api_p99_ms": lambda: (
            f"p50 {detail['p50_ms']} ms; projection slowed by {detail['projection_slowed']:.0%}"
        ),
        "export_s": lambda: f"peak {detail['peak_rss_mb']} MB; file {detail['file_mb']} MB",
        "bytes_per_event": lambda: f"all tables {detail['all_tables']}",
    }
    return texts[line["figure"]]() if line["figure"] in texts else ""


def table(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of the figures, in the order of NAMES, and a line with machine and date."""
    found = {line["figure"]: line for line in lines}
    rows = ["| | measured | | asked |", "|---|---|---|---|"]
    for name, meaning in NAMES.items():
        if name in found:
            line = found[name]
            value = f"{line['value']}{UNITS.get(line['unit'], ' ' + line['unit'])}"
            missed = "" if line["ok"] else " **missed**"
            rows.append(f"| {meaning} | {value} | {beside(line)} | {line['bound']}{missed} |")
    machine = lines[-1]["machine"]
    rows += [
        "",
        f"Measured on {lines[-1]['date']}: {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gib']} GiB, Python {machine['python']}; workers, Kafka, projector and engine all on it.",
    ]
    return "\n".join(rows)


def main(figures: str, readme: str | None = None) -> None:
    """Print the table, or put it into `readme`."""
    fill(readme, "figures", table(json_lines(figures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
