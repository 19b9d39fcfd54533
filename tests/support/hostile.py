"""Texts that would do something to a terminal that shows them, and what a terminal may get."""

from __future__ import annotations

import re

#: What a terminal obeys, or hides, each with a name.
HOSTILE = {
    "clipboard": "\x1b]52;c;eA==\x07",
    "title": "\x1b]0;owned\x1b\\",
    "link": "\x1b]8;;http://x\x1b\\text",
    "clear": "\x1b[2J",
    "device control": "\x1bP0;1|17/ab\x1b\\",
    "application command": "\x1b_G1\x1b\\",
    "carriage return": "bad\rgood",
    "backspace": "bad\b\b\b",
    "C1 control sequence": "\x9b2J",
    "C1 operating system command": "\x9d0;x\x9c",
    "delete": "a\x7fb",
    "bidi override": "a\u202egpj.exe",
    "bidi isolate": "a\u2066b\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg",
    "tags": "a\U000e0041\U000e007f",
    "variation selectors": "a\ufe0f\U000e0100",
    "fillers": "\u3164\u115f\uffa0\u2800",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "surrogate": "a\ud83db\udcff",
    "odd spaces": "a\u00a0b\u3000c",
}

#: All of them that can be in a UTF-8 id.
NAME = "".join(
    text.encode("utf-8", "ignore").decode() for name, text in HOSTILE.items() if name != "surrogate"
)

#: Of select graphic rendition: what our own styles use. Hidden, blinking and inverse text is none of them.
_OURS = {"", "0", "1", "2", "3", "31", "32", "33", "34", "35", "36", "37", "39"}


def unwanted(shown: bytes) -> list[str]:
    """What of a terminal's bytes is neither text nor a line's end nor one of our styles."""
    text = shown.decode("utf-8").replace("\r\n", "\n")
    found = [
        code
        for codes in re.findall("\x1b\\[([0-9;]*)m", text)
        for code in codes.split(";")
        if code not in _OURS
    ]
    text = re.sub("\x1b\\[[0-9;]*m", "", text)
    return found + [
        f"{each!r} in {text[max(0, at - 20) : at + 20]!r}"
        for at, each in enumerate(text)
        if not each.isprintable() and each != "\n"
    ]
