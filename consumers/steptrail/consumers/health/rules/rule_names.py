"""Lists the rules' names without importing them: importing numpy is slow, and command help must not wait for it."""

from __future__ import annotations

import pkgutil
from functools import cache

from steptrail.consumers.health.rules import kinds

FIRST = ("errors", "durations", "silence", "stalled", "thresholds", "losses")
"""Of findings that weigh the same an earlier rule's comes first. Rules that are not named here follow, by name."""


@cache
def rule_names() -> tuple[str, ...]:
    """The names of the modules in `kinds`, which are the rules' names."""
    found = {module.name for module in pkgutil.iter_modules(kinds.__path__)}
    return (*(name for name in FIRST if name in found), *sorted(found.difference(FIRST)))
