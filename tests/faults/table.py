"""Put a run of the matrix into its page: `python tests/faults/table.py lines.jsonl [docs/faults.md]`.

Reads the lines that `make faults` printed, the last of which says form, machine and date, and writes a table between
the two comments `<!-- matrix -->` of the page, or to standard output when no page is named.
"""

from __future__ import annotations

import sys
from typing import Any

from support.marked_block import fill, json_lines

COUNTS = ("injected", "acknowledged", "rows", "lost", "double", "changed")


def table(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of the rows, and a line with form, seed, machine and date. Raises ValueError for half a run."""
    rows = [line for line in lines if "row" in line]
    if not rows or "rows" not in lines[-1] or "row" in lines[-1]:
        raise ValueError("the last line is not that of a run that came to its end")
    summary = lines[-1]
    text = [f"| # | fault | {' | '.join(COUNTS)} | | s |", f"|---|---|{'--:|' * len(COUNTS)}---|--:|"]
    for line in sorted(rows, key=lambda line: int(line["row"])):
        counts = " | ".join(f"{line.get(name, 0):,}" for name in COUNTS)
        held = "held" if line["ok"] else "**failed**"
        text.append(f"| {line['row']} | {line['fault']} | {counts} | {held} | {line.get('seconds', 0):.0f} |")
    machine = summary["machine"]
    failed = ", ".join(map(str, sorted(summary["failed"])))
    text += [
        "",
        f"{'Rows ' + failed + ' failed' if failed else 'Every row held'}: {summary['form']} form, seed "
        f"{summary['seed']}, {summary['seconds'] / 60:.1f} minutes on {summary['date']}, {machine['cores']} cores "
        f"({machine['cpu']}), {machine['memory_gib']} GiB, Python {machine['python']}; workers, Kafka, projectors and "
        "engine all on it.",
    ]
    return "\n".join(text)


def main(run: str, page: str | None = None) -> None:
    """Print the table, or put it into `page`."""
    fill(page, "matrix", table(json_lines(run)))


if __name__ == "__main__":
    main(*sys.argv[1:])
