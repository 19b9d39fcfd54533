"""Suggests known names for an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names most similar to `name`, the nearest first; a name that contains the other counts as similar."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, most)
    held = [each for each in names if min(len(name), len(each)) > 2 and (name in each or each in name)]
    return list(dict.fromkeys([*near, *held]))[:most]


def or_near(name: str, known: Iterable[str]) -> str:
    """A suffix for an error about an unknown name: "; did you mean …?", or ""."""
    near = near_names(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""
