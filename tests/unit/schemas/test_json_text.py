from __future__ import annotations

import pytest

from steptrail.schemas.values.json_text import MAX_JSON_DEPTH, MAX_JSON_DIGITS, json_fault


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"a": 1, "a": 2} \n',
        nested(MAX_JSON_DEPTH),
        b'{"a":%s}' % (b"9" * MAX_JSON_DIGITS),
        b'{"a":"%s"}' % (b"9" * 1000),
        b'{"a":"%s"}' % (b"[{" * 1000),
        b'{"\\"]}":"%s\\""}' % (b"[" * 1000),
        b'{"a":[%s[]]}' % (b"[]," * 1000),
        b'{"a":18446744073709551616}',
    ],
)
def test_what_is_within_the_limits_is_fine(text: bytes) -> None:
    """Whatever stands in its strings."""
    assert json_fault(text, "{") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[]", "does not start with {"),
        (b" {}", "does not start with {"),
        (b"\xef\xbb\xbf{}", "does not start with {"),
        (b"", "does not start with {"),
        (b"{} x", "unexpected content"),
        (nested(MAX_JSON_DEPTH + 1), "deeper than 256 levels"),
        (nested(1024), "deeper than 256 levels"),
        (nested(100_000), "deeper than 256 levels"),
        (b'{"a":%s}' % (b"9" * (MAX_JSON_DIGITS + 1)), "more than 308 digits"),
        (b'{"a":0.%s}' % (b"9" * (MAX_JSON_DIGITS + 1)), "more than 308 digits"),
        (b'{"a":1e999}', "infinity"),
        (b'{"a":"\\ud800"}', "surrogate"),
    ],
)
def test_a_fault_says_what_it_is(text: bytes, told: str) -> None:
    """Which limit, and not that of a parser behind it."""
    fault = json_fault(text, "{")
    assert fault is not None
    assert told in fault
