"""Drawings: what is far apart in time, what is not known, and what is hostile."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptrail.consumers.web.pages.drawing.sparkline import bars
from steptrail.consumers.web.pages.drawing.strip import strip
from steptrail.consumers.web.pages.drawing.svg import element
from steptrail.consumers.web.pages.drawing.timescale import timescale
from steptrail.consumers.web.pages.drawing.waterfall import Bar, axis, lane

HOSTILE = '"><script>alert(1)</script>&<!--'

moments = st.floats(0, 4e9, allow_nan=False)
spans = st.lists(
    st.tuples(moments, st.floats(0, 1e6)).map(lambda each: (each[0], each[0] + each[1])), max_size=20
)


def test_a_long_pause_is_cut_and_says_how_long_it_was() -> None:
    """An hour in which nothing happens takes 4 % of the line, not nearly all of it."""
    scale = timescale([(0, 10), (3610, 3620)])
    [cut] = scale.cuts
    assert cut.seconds == 3600
    assert cut.width == pytest.approx(0.04)
    assert scale.at(10) == pytest.approx(0.48)
    assert scale.at(3610) == pytest.approx(0.52)


def test_a_short_pause_is_not_cut() -> None:
    """What happens within seconds is drawn as it was."""
    scale = timescale([(0, 1), (3, 4)])
    assert not scale.cuts
    assert scale.at(2) == pytest.approx(0.5)


def test_a_single_moment_has_a_place() -> None:
    """A document of one event without a duration is drawn, too."""
    scale = timescale([(5, 5)])
    assert 0 <= scale.at(5) <= 1


@given(spans, st.lists(moments, min_size=2))
def test_later_is_never_further_left(drawn: list[tuple[float, float]], asked: list[float]) -> None:
    """Places grow with time and stay on the line, whatever is drawn."""
    scale = timescale(drawn)
    places = [scale.at(moment) for moment in sorted(asked)]
    assert places == sorted(places)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert sum(part.width for part in scale.stretches) == pytest.approx(1)


def test_no_data_is_drawn_as_such() -> None:
    """An unknown slot is hatched to its full height; a slot with nothing in it is empty."""
    drawn = ElementTree.fromstring(bars([2.0, None, 0.0], "label"))
    rects = [rect.get("class") for rect in drawn.iter("rect")]
    assert rects == ["fill-text", "fill-unknown"]


def test_states_have_a_shape_without_colour() -> None:
    """The worse a state, the taller it is drawn."""
    drawn = ElementTree.fromstring(strip(["HEALTHY", "WARNING", "CRITICAL"], "label"))
    heights = [float(rect.get("height", "0")) for rect in drawn.iter("rect")]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize(
    "drawn",
    [
        element("text", HOSTILE, title=HOSTILE),
        bars([1.0], HOSTILE),
        strip(["HEALTHY"], HOSTILE),
        lane([Bar(0, 1, "success", HOSTILE)], timescale([(0, 1)])),
        axis(timescale([(0, 1)]), [HOSTILE, ""], []),
    ],
    ids=["element", "bars", "strip", "lane", "axis"],
)
def test_hostile_text_is_text(drawn: str) -> None:
    """What an event says can neither end an attribute nor begin an element."""
    root = ElementTree.fromstring(drawn)
    assert not [each for each in root.iter() if "script" in each.tag]
    assert HOSTILE in "".join(root.itertext()) + "".join(root.get("aria-label", "") for _ in [0])
