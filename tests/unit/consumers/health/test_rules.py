from pathlib import Path

import numpy as np
import pytest

from steptrail.consumers.health.rules import Policy, Rules, RulesError
from steptrail.consumers.health.rules.kinds.durations import DurationPolicy
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy
from steptrail.consumers.health.rules.kinds.thresholds import ThresholdPolicy
from steptrail.consumers.health.rules.parameters import stacked
from steptrail.consumers.health.rules.rule_names import rule_names

GOOD = """
[defaults]
errors.limit = 20
silenced = ["silence"]

[[rule]]
pipeline = "invoices"
step = "ocr*"
errors = { normal = 0.03, least_bad = 20 }
stalled.deadline_s = 900

[rule.durations]
normal_ms = 850.5

[[rule.threshold]]
measure = "pages"
above = 200
share = 0.5
status = "CRITICAL"

[[rule]]
step = "ocr-fast"
silenced = true
[[rule.threshold]]
below = 1
"""


def test_rules_apply_in_their_order_by_glob() -> None:
    """The defaults first; a rule changes what it names, thresholds add up."""
    rules = Rules.parse(GOOD)
    other, ocr = rules.policy("invoices", "parse"), rules.policy("invoices", "ocr-slow")
    fast = rules.policy("invoices", "ocr-fast")
    errors = ocr.of(ErrorPolicy)
    assert (other.of(ErrorPolicy).limit, errors.limit) == (20, 20)
    assert np.isnan(other.of(ErrorPolicy).normal)
    assert (errors.normal, errors.least_bad, ocr.of(StalledPolicy).deadline_s) == (0.03, 20, 900)
    assert ocr.of(DurationPolicy).normal_ms == 850.5
    slow, quick = ocr.of(ThresholdPolicy).thresholds, fast.of(ThresholdPolicy).thresholds
    assert [(t.measure, t.bound, t.critical) for t in slow] == [("pages", 200, True)]
    assert [(t.measure, t.bound, t.below) for t in quick[1:]] == [("duration_ms", 1, True)]
    assert ocr.silenced == {"silence"}
    assert fast.silenced == set(rule_names())
    assert rules.policy("invoices", "ocr-slow") is rules.policy("invoices", "ocr-2")
    assert Rules().policy("p", "s") == Policy()


@pytest.mark.parametrize(
    ("text", "line", "key", "what"),
    [
        ("[defaults]\nerrors.limit = 1000", 2, "defaults.errors.limit", "1000 is not between 4 and 200"),
        ("[[rule]]\n\nstep = 7", 3, "rule[1].step", "7 is not a name or a glob"),
        ("[[rule]]\n[[rule]]\nerrors.limt = 9", 3, "rule[2].errors.limt", "is not known here"),
        ("[[rule]]\n[rule.errors]\n# why\nlimit = true", 4, "rule[1].errors.limit", "True is not a number"),
        ("[[rule]]\nerrors = {limit = 9,\tnormal = 2}", 2, "rule[1].errors.normal", "2 is not between"),
        ("[[rule]]\nerrors = 5", 2, "rule[1].errors", "is not a table"),
        ('[[rule]]\nsilenced = ["noise"]', 2, "rule[1].silenced", "is not true, false or a list of errors"),
        ('[rule]\nstep = "x"', 1, "rule", "write it as [[rule]]"),
        ("[rules]\n", 1, "rules", "is not known here; known are defaults, rule"),
        ('[defaults]\npipeline = "x"', 2, "defaults.pipeline", "is not known here"),
        (
            "[[rule]]\n[[rule.threshold]]\nabove = 1\nbelow = 2",
            2,
            "rule[1].threshold[1]",
            "needs one of above",
        ),
        ('[[rule]]\n[[rule.threshold]]\nabove = "1"', 3, "rule[1].threshold[1].above", "'1' is not a number"),
        (
            '[[rule]]\n[[rule.threshold]]\nabove = 1\n[[rule.threshold]]\nabove = 1\nstatus = "BAD"',
            6,
            "rule[1].threshold[2].status",
            "'BAD' is neither",
        ),
        (
            '[[rule]]\nstep = """\n[x]\ny = 1\n"""\nerrors.normal_least = 0.3\nerrors.normal_most = 0.2',
            6,
            "rule[1].errors.normal_least",
            "0.3 is more than normal_most, 0.2",
        ),
        ("[[rule]]\nstep = \n", 2, "", "is not TOML"),
        ("[defaults]\nerrors.limit = nan", 2, "defaults.errors.limit", "nan is not between"),
    ],
)
def test_a_mistake_is_named_by_line_and_key(text: str, line: int, key: str, what: str) -> None:
    """And says what is wrong with it."""
    with pytest.raises(RulesError) as raised:
        Rules.parse(text, "rules.toml")
    (mistake,) = raised.value.mistakes
    assert (mistake.line, mistake.key) == (line, key)
    assert what in mistake.what
    assert f"rules.toml, line {line}" in str(raised.value)
    assert "Nothing of this file is in force" in str(raised.value)


def test_every_mistake_is_named_at_once() -> None:
    """In the order of their lines."""
    with pytest.raises(RulesError) as raised:
        Rules.parse("[defaults]\nerrors.limit = 1\n[[rule]]\nstalled.deadline_s = 0\nx = 1")
    assert [mistake.line for mistake in raised.value.mistakes] == [2, 4, 5]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Is a mistake too, not a traceback."""
    binary = tmp_path / "rules.toml"
    binary.write_bytes(b"\xff\xfe")
    for path in (binary, tmp_path / "absent.toml"):
        with pytest.raises(RulesError, match="cannot be read"):
            Rules.load(path)
    binary.write_text(GOOD)
    assert len(Rules.load(binary).rules) == 3


def test_policies_stack_to_columns_only_where_they_differ() -> None:
    """One number for all stays a number."""
    one, two = ErrorPolicy(limit=20), ErrorPolicy(limit=30)
    policy = stacked([one, two, one])
    assert np.array_equal(policy.limit, [20, 30, 20])
    assert policy.bad == 0.20
    assert np.isnan(policy.normal)
    assert stacked([one, one]) == one
    with pytest.raises(ValueError, match="no policy"):
        stacked([])
