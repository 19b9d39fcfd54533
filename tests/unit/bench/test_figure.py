"""What the benchmark's lines say."""

from __future__ import annotations

import json
import math

from bench.figure import Figure, percentile, rounded


def test_percentile_is_the_nearest_rank() -> None:
    """It is a value that was measured, never one between two."""
    values = [float(n) for n in range(1, 1001)]
    assert percentile(values, 0.99) == 990.0
    assert percentile(values, 0.999) == 999.0
    assert percentile([3.0], 0.5) == 3.0


def test_a_line_is_json_with_machine_and_date() -> None:
    """Also where a value is not finite."""
    line = Figure("x", 1.23456, "s", "<= 2", True, {"inf": math.inf, "n": [0.00012345, 7]}).as_line(3.21)
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert line["value"] == 1.235
    assert line["detail"]["inf"] == "inf"
    assert line["detail"]["n"][1] == 7
    assert line["machine"]["cores"] >= 1
    assert len(line["date"]) == len("2026-01-01")


def test_rounding_keeps_four_digits() -> None:
    """Large values lose their fraction, small ones keep their size."""
    assert rounded(123456.7) == 123457
    assert rounded(0.0) == 0.0
    assert rounded({"a": (1.00004, "text")}) == {"a": [1.0, "text"]}
