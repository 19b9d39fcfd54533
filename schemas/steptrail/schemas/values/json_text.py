"""JSON as allowed in events: what every parser involved accepts and reads alike.

A text is JSON (RFC 8259) without lone surrogates and with numbers in a double's range. steptrail adds two limits where
parsers differ: nesting depth, and the length of numbers.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final, Literal

import orjson

MAX_JSON_DEPTH: Final = 256
"""Arrays and objects within each other, the outermost counted. orjson writes 254, and Python's own recursion ends
near 1,000."""

MAX_JSON_DIGITS: Final = 308
"""Digits in a row outside of strings: a whole number of more may be none to one parser and infinite to another."""

Opening = Literal["{", "["]

_KINDS: Final = {"{": "an object", "[": "an array"}
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOO_MANY_DIGITS: Final = re.compile(rb"[0-9]{%d}" % (MAX_JSON_DIGITS + 1))
# In a run of that many digits, sampling at half that distance hits at least two digits.
_STRIDE: Final = (MAX_JSON_DIGITS + 1) // 2
_TWO_DIGITS: Final = re.compile(rb"[0-9]{2}")
_BRACKETS: Final = b"{[]}"
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_STEPS: Final = {byte: 1 if byte in b"{[" else -1 for byte in _BRACKETS}


def json_fault(text: bytes, opening: Opening) -> str | None:
    """Why a text is not a JSON object or array that an event may hold; None if it is.

    It must start with the opening bracket. The result does not quote the text.
    """
    if not text.startswith(opening.encode()):
        return f"the text is not that of {_KINDS[opening]}: it does not start with {opening}"
    try:
        orjson.loads(text)
    except ValueError as error:
        # It rejects a depth of its own, and integers beyond its range: both exceed our limits.
        told = str(error)
        return (beyond_limits(text) if "depth" in told or "infinity" in told else None) or told
    return beyond_limits(text)


def beyond_limits(text: bytes) -> str | None:
    """Which of steptrail's own limits a JSON text exceeds; None if none."""
    if len(text) <= MAX_JSON_DIGITS:
        return None
    if text.count(b"{") + text.count(b"[") > MAX_JSON_DEPTH and _depth(text) > MAX_JSON_DEPTH:
        return f"it nests deeper than {MAX_JSON_DEPTH} levels"
    if _TWO_DIGITS.search(text[::_STRIDE]) and _TOO_MANY_DIGITS.search(_STRING.sub(b'""', text)):
        return f"a number in it has more than {MAX_JSON_DIGITS} digits in a row"
    return None


def _depth(text: bytes) -> int:
    """Nesting depth; stops counting once it is too deep."""
    # Without escapes, every second piece between quotes is outside strings: faster than the regular expression.
    outside = _STRING.sub(b"", text) if b"\\" in text else b"".join(text.split(b'"')[::2])
    brackets = outside.translate(None, _OTHERS)
    if len(brackets) - len(brackets.lstrip(b"{[")) > MAX_JSON_DEPTH:
        return MAX_JSON_DEPTH + 1
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
