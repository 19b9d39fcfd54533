"""Makes untrusted text safe to show: characters that a terminal would obey or hide are escaped."""

from __future__ import annotations

import re

# Invisible characters that Unicode classifies as letters, marks and symbols.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BACKSLASHES = re.compile(r"(\\+)")
_LIKE_AN_ESCAPE = re.compile(r"\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}")


def is_visible(text: str) -> bool:
    """Whether every character of `text` is visible: no control, bidi or format character, no
    separator but the plain space, nothing invisible, no lone surrogate."""
    return text.isprintable() and _BLANK.search(text) is None


def visible(text: str, *, keep: str = "") -> str:
    r"""`text` with every invisible character escaped as `\x1b`, `\u202e` or `\U000e0041`, except those in `keep`."""
    if is_visible(text):
        return text
    return "".join(each if each in keep or is_visible(each) else _escaped(each) for each in text)


def distinct(text: str) -> str:
    """As `visible`, and different texts never look the same: for ids and names.

    A backslash is doubled if the characters after it would read as an escape.
    """
    parts = _BACKSLASHES.split(text)
    shown = [visible(part) for part in parts]
    for at in range(1, len(parts), 2):
        if _LIKE_AN_ESCAPE.match(shown[at + 1]):
            shown[at] *= 2
    return "".join(shown)


def visible_json(document: str) -> str:
    r"""A JSON document with invisible characters as `\uXXXX`: the same values, safe to show."""
    if is_visible(document):
        return document
    import json

    return "".join(each if is_visible(each) else json.dumps(each)[1:-1] for each in document)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
