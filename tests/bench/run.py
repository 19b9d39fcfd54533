"""`make bench`: measure every figure of the README and print one JSON line for each.

A figure that misses its bound is said on standard error; the exit code is 1 only where a figure could not be
measured. `--only NAME` (more than once) measures some of them, `--quick` all of them on a tenth of the work,
which is for trying the benchmark itself, not for publishing.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from functools import partial

from bench.reporting import report
from bench.session import Session

FIGURES = (
    "stack_ready_s",
    "step_vs_otel_span",
    "step_block_cost",
    "emit_p99_us",
    "redaction_cost",
    "spool_cost",
    "journal_cost",
    "emit_to_readable_s",
    "projection_vs_handwritten",
    "cpu_vs_handwritten",
    "projection_vs_engine_copy",
    "ledger_cost",
    "poison_cost",
    "secured_cost",
    "two_shards_vs_one",
    "leader_killed_s",
    "first_rows_s",
    "recovery_s",
    "idle_stack",
    "projector_peak_rss_mb",
    "bytes_per_event",
    "timeline_p99_ms",
    "recent_errors_p99_ms",
    "page_p95_ms",
    "page_weight_kb",
    "api_p99_ms",
    "search_s",
    "export_s",
)
"""The order in which they are measured; each is `measure(session)` of the module of its name."""


def main() -> int:
    """Measure what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the figures of the README, one JSON line each.")
    parser.add_argument("--only", action="append", choices=FIGURES, help="measure this figure (repeatable)")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, to try the benchmark itself"
    )
    arguments = parser.parse_args()

    failed = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stack is stopped then too
    with Session(quick=arguments.quick) as session:
        for name in arguments.only or FIGURES:
            module = importlib.import_module(f"bench.figures.{name}")
            failed += report(session, name, partial(module.measure, session)) is None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
