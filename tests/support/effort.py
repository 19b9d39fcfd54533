"""How often a test tries what it proves by numbers: enough for each change, and more in `make test-all`.

A test that asks is marked `thorough`; `make test-all` runs those again with STEPTRAIL_TEST_THOROUGH=1.
"""

from __future__ import annotations

import os

import pytest

THOROUGH = os.environ.get("STEPTRAIL_TEST_THOROUGH", "0") not in ("", "0")


def effort(usual: int, thorough: int) -> int:
    """How often, or how many: `usual`, or `thorough` in `make test-all`."""
    return thorough if THOROUGH else usual


ONLY_IN_TEST_ALL = (
    pytest.mark.thorough,
    pytest.mark.skipif(not THOROUGH, reason="proves by brute force: make test-all"),
)
"""Marks of a test that `make test` leaves out."""
