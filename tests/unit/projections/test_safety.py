from __future__ import annotations

import pytest

from steptrail.projections.clickhouse.safety import upgrade_for


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ("26.9.2.1", None),
        ("27.1.1.1", None),
        ("26.8.3.98", None),
        ("26.8.3.97", "upgrade to 26.8.3.98 or later"),
        ("26.8.2.500", "upgrade to 26.8.3.98 or later"),
        ("26.3.33.61", None),
        ("26.3.34.1-lts", None),
        ("26.3.33.60", "upgrade to 26.3.33.61 or later"),
        ("26.5.9.99", "this series has no fix: upgrade to 26.6.5.114 or later"),
        ("25.8.1.1", "this series has no fix: upgrade to 26.3.33.61 or later"),
    ],
)
def test_a_release_that_may_lose_parts_is_known(version: str, remedy: str | None) -> None:
    """Each series by its first release with the fix; a series without one names the next that has it."""
    assert upgrade_for(version) == remedy
