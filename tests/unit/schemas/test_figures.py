"""Counts, shares and figures as people read them."""

import pytest

from steptrail.schemas.figures import counted, figure, share


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 errors"),
        (1, "1 error"),
        (2, "2 errors"),
        (4711, "4,711 errors"),
        (None, "an unknown number of errors"),
    ],
)
def test_a_count_has_its_noun(number: int | None, text: str) -> None:
    """One of a kind is singular; thousands stand apart."""
    assert counted(number, "error") == text


def test_a_noun_may_have_another_plural() -> None:
    """Where an s does not do."""
    assert counted(2, "is", "are") == "2 are"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (1, "100 %"),
        (0.999, "100 %"),
        (0.1, "10 %"),
        (0.123, "12 %"),
        (0.00123, "0.12 %"),
        (0, "0 %"),
        (1e-9, "0.0000001 %"),
    ],
)
def test_a_share_never_has_an_exponent(part: float, text: str) -> None:
    """Percent with the digits that matter."""
    assert share(part) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1,234,567"),
        (12.34, "12.3"),
        (9.996, "10"),
        (0.00012345, "0.000123"),
        (-5.0, "-5"),
        (1e20, "1" + ",000" * 0 + "00,000,000,000,000,000,000"),
        (float("nan"), "nan"),
    ],
)
def test_a_figure_never_has_an_exponent(value: float, text: str) -> None:
    """Three digits that matter, thousands apart."""
    assert figure(value) == text
