"""`make faults`: inject every fault of the matrix into real parts and let the oracle count. One JSON line a row.

    .venv/bin/python tests/faults/run.py [--quick] [--only 1,4,9] [--seed 7] [--json FILE] [--without guard]

The full form takes up to 40 minutes, `--quick` up to 8. Exit code 1: a row failed. Whatever is drawn at random
comes from the seed, which is printed, so that a row can be run again; how processes are scheduled does not.
Rows run two at a time, each on a Kafka and an engine of its own; in the full form only those that mostly wait.

`--without` takes a safeguard out, to see which rows fail without it: guard, claim, wait, readback or fork.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.figure import machine
from faults import crew, safeguards
from faults.matrix import ROWS
from faults.row import Outcome, Run
from faults.world import World


def main() -> int:
    """Run what was asked for; return the exit code."""
    given = _arguments()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    if given.member:
        with World(without=given.without, keep=given.keep) as world:
            crew.serve(lambda number: run_row(Run(number, world, given.quick, seed)))
        return 0
    began = time.monotonic()
    lines: list[dict[str, Any]] = []
    say(f"seed {seed}, {'quick' if given.quick else 'full'} form")
    if given.without:
        say(f"WITHOUT the safeguard {given.without}: {safeguards.NAMES[given.without]}")
    for line in _lines(given, seed):
        lines.append(line)
        print(json.dumps(line, ensure_ascii=False), flush=True)
        _write(given.json, lines)
    failed = [line["row"] for line in lines if not line["ok"]]
    summary = {
        "rows": len(lines),
        "failed": failed,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "form": "quick" if given.quick else "full",
        "machine": machine(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        **({"without": given.without} if given.without else {}),
    }
    print(json.dumps(summary), flush=True)
    _write(given.json, [*lines, summary])
    return 1 if failed else 0


def _lines(given: argparse.Namespace, seed: int) -> Iterator[dict[str, Any]]:
    """The line of each row that was asked for, as it is done: those that may, side by side, then the others."""
    numbers = given.only or list(ROWS)
    crowd = [number for number in numbers if given.quick or ROWS[number].waits]
    if given.jobs == 1 or len(crowd) == 1:
        crowd = []
    alone = [number for number in numbers if number not in crowd]
    if crowd:
        yield from crew.side_by_side(crowd, given.jobs, _member(given, seed))
    if alone:
        with World(without=given.without, keep=given.keep) as world:
            for number in alone:
                yield run_row(Run(number, world, given.quick, seed))


def _member(given: argparse.Namespace, seed: int) -> list[str]:
    """The command that starts a member of the crew."""
    command = [sys.executable, __file__, "--member", "--seed", str(seed)]
    command += ["--quick"] if given.quick else []
    command += ["--keep"] if given.keep else []
    return [*command, *(["--without", given.without] if given.without else [])]


def run_row(run: Run) -> dict[str, Any]:
    """The line of a row; what goes wrong in the row itself fails it."""
    row = ROWS[run.number]
    began = time.monotonic()
    try:
        run.world.heal()
        outcome = row.load()(run)
    except Exception as error:
        say(f"row {run.number} broke off:\n{traceback.format_exc()}")
        outcome = Outcome(0, wrong=[f"{type(error).__name__}: {error}"[:500]])
    verdict = outcome.verdict
    detail: dict[str, Any] = dict(outcome.detail)
    if others := {name: count for name, count in verdict.faults().items() if count}:
        detail["faults"] = others
    if verdict.repeated:
        detail["repeated"] = verdict.repeated
    if verdict.examples:
        detail["examples"] = verdict.examples
    if outcome.wrong:
        detail["wrong"] = outcome.wrong
    return {
        "row": run.number,
        "fault": row.fault,
        "injected": outcome.injected,
        "issued": verdict.issued,
        "acknowledged": verdict.acknowledged,
        "rows": verdict.rows,
        "lost": verdict.lost,
        "double": verdict.double,
        "changed": verdict.changed,
        "ok": outcome.ok,
        "seconds": round(time.monotonic() - began, 1),
        "seed": run.seed,
        "detail": detail,
    }


def _write(path: Path | None, lines: list[dict[str, Any]]) -> None:
    if path is not None:
        path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines))


def say(text: str) -> None:
    """Tell the person who waits; standard output is for the rows."""
    print(f"faults: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="each fault a few times, in 8 minutes")
    form.add_argument("--full", action="store_false", dest="quick", help="as often as promised (the default)")
    parser.add_argument("--only", type=_numbers, metavar="N,N", help="these rows")
    parser.add_argument("--seed", type=int, help="repeat what was drawn in another run")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the lines here as well, for table.py"
    )
    parser.add_argument("--without", choices=tuple(safeguards.NAMES), help="take out a safeguard")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="rows at a time (2)")
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="keep the logs, records and stores of the run")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    numbers = [int(number) for number in text.split(",")]
    if unknown := [number for number in numbers if number not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {unknown[0]}: 1 to {max(ROWS)}")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
