"""Numbers in the sentences of health."""

import pytest

from steptrail.consumers.health.rules.formatting import milliseconds, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1, "100 %"),
        (0.996, "100 %"),
        (0.21, "21 %"),
        (0.015, "1.5 %"),
        (0.0001, "less than 0.1 %"),
        (0, "0 %"),
    ],
)
def test_a_share_has_no_exponent(share: float, text: str) -> None:
    """Whole percents, or one digit; never 1e+02 %, and never 0.0 % of what is there."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5 ms"),
        (850, "850 ms"),
        (999.6, "1 s"),
        (1400, "1.4 s"),
        (99_499, "99 s"),
        (100_000, "100 s"),
        (119_999, "120 s"),
        (180_000, "3 min"),
    ],
)
def test_a_duration_has_no_exponent(value: float, text: str) -> None:
    """In the unit that people would choose."""
    assert milliseconds(value) == text
