"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like this one, the nearest first; one that holds the other counts as near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, most)
    held = [each for each in names if min(len(name), len(each)) > 2 and (name in each or each in name)]
    return list(dict.fromkeys([*near, *held]))[:most]


def or_near(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says that there is no such name: "; did you mean …?", or nothing."""
    near = near_names(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""
