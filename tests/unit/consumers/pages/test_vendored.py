"""The scripts of others that are part of the package are those that were published, byte for byte."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

VENDORED = {
    # htmx.org 2.0.11 and uplot 1.6.32, as in their packages' dist/ on npm
    "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
FOLDER = files("steptrail.consumers.web.pages") / "static" / "vendor"


@pytest.mark.parametrize(("name", "digest"), VENDORED.items())
def test_a_vendored_file_is_what_was_published(name: str, digest: str) -> None:
    """Nobody changed it; an update changes the digest here, too."""
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_nothing_else_is_vendored() -> None:
    """Every file of others is in the list."""
    licenses = {"LICENSE-htmx.txt", "LICENSE-uPlot.txt"}
    assert {file.name for file in FOLDER.iterdir()} == {*VENDORED} | licenses
