"""Every module of `kinds` is a rule, and all that must know of it does."""

from dataclasses import fields

from steptrail.consumers.health.rules import Judge, Policy, Rules, Slot, State, StepCounts
from steptrail.consumers.health.rules.registry import health_rules, pipeline_rules, policies, step_rules
from steptrail.consumers.health.rules.rule_names import FIRST, rule_names
from steptrail.consumers.health.rules.rules_toml import RuleTable


def test_a_rule_is_called_as_its_module() -> None:
    """In the rules file, in findings and in what is silenced."""
    assert rule_names()[: len(FIRST)] == FIRST
    assert {name: rule.policy.rule for name, rule in health_rules().items()} == {
        name: name for name in rule_names()
    }
    assert step_rules().keys() | pipeline_rules().keys() == set(rule_names())


def test_the_rules_file_has_a_key_for_each_rule() -> None:
    """And a policy for each, with the defaults."""
    assert {kind.key() for kind in policies().values()} <= RuleTable.model_fields.keys()
    assert Policy().rules == {name: kind() for name, kind in policies().items()}
    for name, kind in policies().items():
        for parameter in fields(kind):
            if "low" in parameter.metadata:
                rules = Rules.parse(f"[defaults]\n{name}.{parameter.name} = {parameter.metadata['high']}")
                assert getattr(rules.policy("p", "s").of(kind), parameter.name) == parameter.metadata["high"]


def test_every_rule_is_asked_for_levels_and_stored() -> None:
    """Two bits of a level for each, and its state in the snapshot."""
    judge = Judge()
    judge.fold(Slot(340_000_000, {("p", "ocr"): StepCounts(1, 1)}))
    state = State.from_bytes(judge.state.to_bytes())
    assert list(state.steps) == list(step_rules())
    assert list(state.pipelines) == list(pipeline_rules())
    for name, rule in state.steps.items():
        assert all(columns.rows == 1 for _, columns in rule.columns()), name
        assert len(rule.levels(340_000_000, rule.configure([policies()[name]()]))) == 1
