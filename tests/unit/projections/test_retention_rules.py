"""Retention as people write it, and which rule holds for a pipeline."""

from __future__ import annotations

import pytest

from steptrail.projections.lifecycle.retention_rules import (
    DEFAULT,
    BadRetention,
    RetentionRule,
    RetentionRules,
    parse_retention,
)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("90d", 90),
        (" 1 day ", 1),
        ("12w", 84),
        ("1y", 365),
        ("2 years", 730),
        ("none", None),
        ("Forever", None),
    ],
)
def test_a_duration_is_whole_days_or_none(text: str, days: int | None) -> None:
    """Days, weeks, years of 365 days."""
    assert parse_retention(text) == days


@pytest.mark.parametrize(
    "text", ["", "90", "d", "0d", "-1d", "1.5d", "90h", "1m", "36501d", "999999999y", "١d", "1d2w", "default"]
)
def test_anything_else_is_refused_with_what_can_be_written(text: str) -> None:
    """The message shows the text and an example."""
    with pytest.raises(BadRetention, match="is no retention"):
        parse_retention(text)


def test_a_hold_goes_before_a_pipelines_rule_and_that_before_the_default() -> None:
    """None: kept for ever."""
    rules = RetentionRules(
        RetentionRule(DEFAULT, 365, own=True),
        {
            "short": RetentionRule("short", 30, own=True),
            "kept": RetentionRule("kept", None, own=True),
            "held": RetentionRule("held", 30, own=True, held=True),
            "released": RetentionRule("released", None, own=False),
        },
    )
    days = {name: rules.days(name) for name in ("short", "kept", "held", "released", "other")}
    assert days == {"short": 30, "kept": None, "held": None, "released": 365, "other": 365}
