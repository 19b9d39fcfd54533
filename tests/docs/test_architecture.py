"""The picture of the architecture shows what the imports are."""

from __future__ import annotations

import pytest

from docs import architecture


def test_the_picture_shows_the_imports_as_they_are() -> None:
    """Drawn anew it is the same; if not: `.venv/bin/python tests/docs/architecture.py`."""
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.draw(architecture.arrows())


def test_every_folder_that_has_modules_stands_in_the_picture() -> None:
    """A folder that nothing imports, and that imports nothing, would be missing from a picture of arrows."""
    rooms = {room for pair in architecture.arrows() for room in pair}
    roots = architecture.PICTURE.parents[2]
    for root in set(architecture.ROOTS) - set(architecture.CLOSED):
        folders = {f.parent.name for f in (roots / root / "steptrail" / root).glob("*/__init__.py")}
        assert {f"{root}.{folder}" for folder in folders} <= rooms


def test_an_implied_arrow_is_left_out_and_a_circle_is_refused() -> None:
    """The two things that drawing decides."""
    assert architecture.reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    with pytest.raises(ValueError, match="circle"):
        architecture.columns(["a", "b"], {("a", "b"), ("b", "a")})
