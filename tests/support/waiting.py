"""Waiting for what is meant: a condition, asked again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0
"""How long a slow, busy machine may take for what takes a moment. Only a test that fails waits as long as this."""


def until(
    condition: Callable[[], Any], what: str = "such moment", timeout: float = PATIENCE_S, pause: float = 0.05
) -> Any:
    """Wait until `condition` returns something true, and return that. Raises TimeoutError that names `what`."""
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() >= end:
            raise TimeoutError(f"within {timeout:g} s there was no {what}")
        time.sleep(pause)
    return result
