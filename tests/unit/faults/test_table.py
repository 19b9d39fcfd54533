"""The page of the fault matrix says what was counted, and by which run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faults.table import main, table

ROW = {
    "row": 1,
    "fault": "projector killed",
    "injected": 55,
    "issued": 90_000,
    "acknowledged": 90_000,
    "rows": 90_000,
    "lost": 0,
    "double": 0,
    "changed": 0,
    "ok": True,
    "seconds": 61.2,
    "seed": 7,
}
SUMMARY = {
    "rows": 1,
    "failed": [],
    "seed": 7,
    "seconds": 66.0,
    "form": "full",
    "date": "2026-01-02",
    "machine": {"cores": 2, "cpu": "a processor", "memory_gib": 24, "python": "3.12.1"},
}


def test_every_count_of_a_row_is_in_the_table() -> None:
    text = table([ROW, SUMMARY])
    assert "| 1 | projector killed | 55 | 90,000 | 90,000 | 0 | 0 | 0 | held | 61 |" in text
    assert "Every row held: full form, seed 7, 1.1 minutes on 2026-01-02, 2 cores (a processor)" in text


def test_a_row_that_failed_is_not_hidden() -> None:
    lost: dict[str, Any] = {**ROW, "lost": 3, "ok": False}
    text = table([lost, {**SUMMARY, "failed": [1]}])
    assert "| 3 | 0 | 0 | **failed** |" in text
    assert "Rows 1 failed" in text


def test_half_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="came to its end"):
        table([ROW])


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    lines, page = tmp_path / "lines.jsonl", tmp_path / "page.md"
    lines.write_text(f"{json.dumps(ROW)}\n{json.dumps(SUMMARY)}\n")
    page.write_text("before\n<!-- matrix -->\nold\n<!-- /matrix -->\nafter\n")
    main(str(lines), str(page))
    text = page.read_text()
    assert text.startswith("before\n<!-- matrix -->\n")
    assert text.endswith("\n<!-- /matrix -->\nafter\n")
    assert "old" not in text
    assert "projector killed" in text
