"""Loads the rule classes from the modules of `kinds` (`rule_names` lists them)."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from steptrail.consumers.health.rules import kinds
from steptrail.consumers.health.rules.parameters import RulePolicy
from steptrail.consumers.health.rules.rule import HealthRule, PipelineRule, StepRule
from steptrail.consumers.health.rules.rule_names import rule_names


@cache
def health_rules() -> dict[str, type[HealthRule[Any]]]:
    """Every rule by its name, in the order of `rule_names`."""
    return {name: import_module(f"{kinds.__name__}.{name}").RULE for name in rule_names()}


def step_rules() -> dict[str, type[StepRule[Any]]]:
    """The rules that judge steps."""
    return {name: rule for name, rule in health_rules().items() if issubclass(rule, StepRule)}


def pipeline_rules() -> dict[str, type[PipelineRule[Any]]]:
    """The rules that judge pipelines."""
    return {name: rule for name, rule in health_rules().items() if issubclass(rule, PipelineRule)}


def policies() -> dict[str, type[RulePolicy]]:
    """The parameters of every rule."""
    return {name: rule.policy for name, rule in health_rules().items()}
