"""Pictures of what the commands show, compared with those that were looked at. UPDATE_SCREENS=1 draws them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.cli_screens import SCREENS, screen

PICTURES = Path(__file__).with_name("screens")
WIDTHS = (40, 80, 100, 120, 200, None)


def drawn(name: str) -> str:
    pages = []
    for width in WIDTHS:
        title = "in a pipe" if width is None else f"{width} columns"
        pages.append(f"{f' {title} '.center(width or 80, '=')}\n{screen(name, width)}")
    return "\n".join(pages)


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_it_was_looked_at(name: str) -> None:
    """Each command at 40, 80, 100, 120 and 200 columns and in a pipe."""
    picture = PICTURES / f"{name}.txt"
    shown = drawn(name)
    if os.environ.get("UPDATE_SCREENS"):
        picture.write_text(shown, encoding="utf-8")
    assert shown == picture.read_text(encoding="utf-8")
