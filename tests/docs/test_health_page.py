"""docs/health.md says what the code says, and its example is one."""

from __future__ import annotations

import re
from pathlib import Path

from health_sim.plotting import PLOTS
from health_sim.table import figures_block, parameters_block
from steptrail.consumers.health.rules import Rules
from steptrail.consumers.health.rules.kinds.durations import DurationPolicy
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy
from steptrail.consumers.health.rules.kinds.losses import LossPolicy
from steptrail.consumers.health.rules.kinds.silence import SilencePolicy
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy
from steptrail.consumers.health.rules.kinds.thresholds import ThresholdPolicy
from steptrail.consumers.health.rules.rule_names import rule_names
from support.marked_block import filled

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "health.md").read_text("utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "health.toml"


def test_the_parameters_are_those_of_the_code() -> None:
    """`python tests/health_sim/table.py` writes them."""
    assert filled(PAGE, "parameters", parameters_block()) == PAGE


def test_every_rule_has_a_section() -> None:
    """Under its name; what a section of two words begins with will do."""
    sections = re.findall(r"^## (\w+)", PAGE, re.MULTILINE)
    assert {name.capitalize() for name in rule_names()} <= set(sections)


def test_the_rules_file_of_the_page_is_the_example_and_does_what_it_says() -> None:
    """Every kind of thing that a rules file can hold is in it."""
    [shown] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == EXAMPLE.read_text("utf-8")
    rules = Rules.load(EXAMPLE)
    assert rules.policy("anything", "at all").of(LossPolicy).warning_at == 5
    ocr = rules.policy("invoices", "ocr-fast")
    assert (ocr.of(ErrorPolicy).normal, ocr.of(DurationPolicy).normal_ms) == (0.03, 4000)
    assert ocr.of(StalledPolicy).deadline_s == 1800
    [threshold] = ocr.of(ThresholdPolicy).thresholds
    assert (threshold.measure, threshold.below, threshold.critical) == ("confidence", True, True)
    assert rules.policy("payments", "charge").of(SilencePolicy).after_s == 300
    assert "errors" in rules.policy("experiments", "x").silenced
    assert rules.policy("letters", "nightly-close").silenced == {"silence", "durations"}


def test_every_plot_is_shown_and_small() -> None:
    """`make health-sim ARGS='--plots docs/images'` draws them."""
    shown = re.findall(r"!\[[^]]+\]\(images/health_(\w+)\.svg\)", PAGE)
    assert sorted(shown) == sorted(PLOTS)
    for name in shown:
        assert (ROOT / "docs" / "images" / f"health_{name}.svg").stat().st_size < 100_000


def test_a_table_of_figures_says_what_was_missed() -> None:
    """A bound that is not met stands in the page as that."""
    line = {
        "figure": "cold_start_false_alarms",
        "value": 3,
        "unit": "of 100",
        "bound": "== 0",
        "ok": False,
        "detail": {},
        "machine": {"cores": 2, "cpu": "x", "memory_gib": 1, "python": "3"},
        "date": "2026-01-02",
        "seed": 1,
    }
    assert "| 3 of 100 |  | == 0 **missed** |" in figures_block([line])
