"""Messages at and beyond every limit of an event, made from the schema and its limits, field by field."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from steptrail.schemas.limits import LIMITS, Between, Finite, Json
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.values.json_text import MAX_JSON_DEPTH, MAX_JSON_DIGITS
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX
from steptrail.schemas.wire.varint import encode_long
from support.consumed import event_value

_TEXT = st.text(max_size=200)
_SOME = b"\x02"
_NONE = b"\x00"

EVENTS = st.builds(
    event_value,
    doc_id=_TEXT,
    step_name=_TEXT,
    attempt=st.integers(1, 2**31 - 1),
    status=st.sampled_from(ProcessingStatus),
    duration_ms=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    error_type=st.none() | _TEXT,
    error_message=st.none() | _TEXT,
    details=st.sampled_from(["{}", '{"a": 1}', '{"deep": [[{}]], "text": "é"}']),
    depends_on=st.sampled_from(["[]", '["a", "b"]']),
    trace_id=st.none() | _TEXT,
    sequence=st.integers(0, 2**62 - 1),
)
"""The values of messages that are events."""


def _around(limits: tuple[int, ...]) -> st.SearchStrategy[int]:
    near = [limit + step for limit in limits for step in (-1, 0, 1)]
    inside = [number for number in near if -(2**63) <= number < 2**63]
    return st.sampled_from(inside) | st.integers(-(2**63), 2**63 - 1) | st.integers(-10, 10)


def _well_spelled(*limits: int) -> st.SearchStrategy[bytes]:
    """A number near one of the limits or of the ends of its bits."""
    ends = (0, 2**13, 2**31, -(2**31), 2**32, 2**62, -(2**62), 2**63 - 1, -(2**63))
    return _around((*limits, *ends)).map(encode_long)


def _numbers(*limits: int) -> st.SearchStrategy[bytes]:
    """The same, spelled well, too long, or not to the end."""
    well = _well_spelled(*limits)
    longer = st.builds(
        lambda spelled, more: spelled[:-1] + bytes([spelled[-1] | 0x80]) + b"\x80" * more + b"\x00",
        well,
        st.integers(0, 10),
    )
    ten = st.builds(
        lambda low, last: bytes(byte | 0x80 for byte in low) + bytes([last]),
        st.binary(min_size=9, max_size=9),
        st.sampled_from([0, 1, 2, 3, 64, 127]),
    )
    # Right but for bits beyond 64, which a lenient reader drops.
    dropped = st.builds(
        lambda spelled, last: (
            (spelled[:-1] + bytes([spelled[-1] | 0x80])).ljust(9, b"\x80")[:9] + bytes([last])
        ),
        well,
        st.sampled_from([0, 2, 4, 126]),
    )
    return st.one_of(well, well, longer, ten, dropped, st.just(b"\xff" * 11))


_ODD_UTF8 = [
    *(b"\x00", b"a\x00b", b"\x1f\x7f", "\u2028\ufffe\U0010ffff".encode()),
    *(
        b"\xff",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80",
    ),
    *("é".encode()[:1], "€".encode()[:2], "𝄞".encode()[:3], b"\x80", b"ok \xe2\x82 no"),
]


def _text(content: bytes) -> bytes:
    return encode_long(len(content)) + content


def _texts() -> st.SearchStrategy[bytes]:
    sizes = st.sampled_from([0, 1, 63, 64, 65, 8191, 8192, 8193])
    content = st.one_of(
        _TEXT.map(str.encode),
        st.sampled_from(_ODD_UTF8),
        sizes.map(lambda n: b"x" * n),
        st.binary(max_size=40),
    )
    wrong_length = st.builds(
        lambda spelled, content: spelled + content, _numbers(-1, 5, 2**20), st.binary(max_size=12)
    )
    return st.one_of(content.map(_text), content.map(_text), wrong_length)


_DEEP = [*range(1, 4), *range(MAX_JSON_DEPTH - 2, MAX_JSON_DEPTH + 3), *range(1022, 1027), 3000]
_DIGITS = [1, 18, 19, 20, 21, *range(MAX_JSON_DIGITS - 2, MAX_JSON_DIGITS + 4), 400]
_NUMBERS = [
    *(
        "1e999",
        "-1e999",
        "1e308",
        "1.8e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1e-999",
        "0e9",
    ),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "-0", "-0.0", "1E+5", "1e5"),
    *("01", "1.", ".5", "+1", "-", "--1", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "1e", "1e+"),
]
_STRINGS = [
    *(
        r'"\ud800"',
        r'"\udc00"',
        r'"\ud83d\ude00"',
        r'"\ud800\ud800"',
        r'"\u0000"',
        r'"\x"',
        r'"\u12"',
        r'"\/"',
    ),
    *('"\x00"', '"\x1f"', '"\x7f"', '"\n"', '"\\"', '"\\\\"', '"\\""', '"[{"', '"]}"', '"\u2028"', '"', "''"),
]
_PIECES = [
    *("{", "}", "[", "]", ",", ":", '"', "\\", " ", "\n", "\t", "\x0b", "\ufeff", "1", "-", "e", ".", "a"),
    *('"a":', "{}", "[]", "null", "true", "nul", "True", '"a":1', "/**/", "{},{}", '{"a":[{}', "{}]}", '{"}'),
]


@st.composite
def _nested(draw: st.DrawFn) -> str:
    depth: int = draw(st.sampled_from(_DEEP))
    pair: tuple[str, str] = draw(
        st.sampled_from([("[", "]"), ('{"a":', "}"), ('{"]}\\"":', "}"), ('[[],{"[":{}},', "]")])
    )
    leaf: str = draw(st.sampled_from(["", "1", "{}", "[]", '""', '"[[[["']))
    left: int = draw(st.sampled_from([0, 0, 0, 1, -1]))
    return pair[0] * depth + leaf + pair[1] * (depth - left)


@st.composite
def _number(draw: st.DrawFn) -> str:
    digits = draw(st.sampled_from("0159")) * draw(st.sampled_from(_DIGITS))
    around = st.sampled_from(
        [
            "{}",
            "-{}",
            "1{}",
            "0.{}",
            "0.5{}",
            "{}.0",
            "{}e1",
            "{}e-300",
            "1e{}",
            '"{}"',
            '"a{}\\""',
            '"\\"", {}',
        ]
    )
    return draw(st.sampled_from(_NUMBERS) | around.map(lambda form: form.replace("{}", digits)))


_json_values = st.one_of(
    _nested(),
    _number(),
    st.sampled_from(_STRINGS),
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
)


def json_texts(opening: str) -> st.SearchStrategy[str]:
    """Texts that are JSON of the kind that opens so, or nearly."""
    within = _json_values.map(lambda value: '{"a":' + value + "}" if opening == "{" else "[" + value + "]")
    twice = within.map(lambda text: text[:-1] + "," + text[1:])
    around = st.builds(
        lambda before, text, after: before + text + after,
        st.sampled_from(["", "", " ", "\ufeff", "\n", "[", "{"]),
        within,
        st.sampled_from(["", " ", "\n\t", "\x00", ",", "x", "{}", "]", "}", "\x0c"]),
    )
    return st.one_of(within, within, twice, around, _json_values, st.just("{}"), st.just("[]"))


def _field(name: str, kind: Any) -> st.SearchStrategy[bytes]:
    limit = LIMITS.get(name)
    if isinstance(kind, list):
        some = _field(name, kind[1])
        return st.one_of(
            st.just(_NONE),
            some.map(lambda value: _SOME + value),
            st.builds(bytes.__add__, _numbers(0, 1, 2), some),
        )
    if isinstance(limit, Json):
        return json_texts(limit.opening).map(lambda text: _text(text.encode()))
    if isinstance(limit, Finite):
        return (
            st.sampled_from([float("nan"), float("inf"), -float("inf"), 1.7976931348623157e308, 5e-324, -0.0])
            | st.floats()
        ).map(lambda number: struct.pack("<d", number))
    if isinstance(kind, dict) and kind["type"] == "fixed":
        return st.binary(min_size=kind["size"], max_size=kind["size"]) | st.binary(max_size=20)
    if kind == "string":
        return _texts()
    return _numbers(*((limit.least, limit.greatest) if isinstance(limit, Between) else ()))


_FINE = {
    **dict.fromkeys(("event_id", "execution_id"), b"\x01" * 16),
    **dict.fromkeys(("pipeline", "doc_id", "step_name", "worker"), _text(b"x")),
    **dict.fromkeys(("duration_ms", "error_type", "error_message", "trace_id"), _NONE),
    "attempt": b"\x02",
    "status": b"\x04",
    "timestamp": encode_long(1_760_000_000_000_000),
    "sequence": b"\x00",
    "details": _text(b"{}"),
    "metrics": _text(b"{}"),
    "depends_on": _text(b"[]"),
    "emitter_id": b"\x02" * 8,
}
_FIELDS = {field["name"]: field["type"] for field in STEP_EVENT_SCHEMA["fields"]}


@st.composite
def _values(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), min_size=1, max_size=2, unique=True))
    odd = {name: draw(_field(name, _FIELDS[name])) for name in names}
    body = b"".join({**_FINE, **odd}[name] for name in _FIELDS)
    return SINGLE_OBJECT_PREFIX + body + draw(st.sampled_from([b"", b"", b"", b"", b"\x00", body]))


@st.composite
def _rows(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(sorted(LIMITS)))
    limit, kind = LIMITS[name], _FIELDS[name]
    if isinstance(limit, Between):
        odd = draw(_well_spelled(limit.least, limit.greatest))
    else:
        odd = draw(_field(name, kind[1] if isinstance(kind, list) else kind))
    if isinstance(kind, list):
        odd = _SOME + odd
    text = draw(st.sampled_from(_ODD_UTF8) | _TEXT.map(str.encode))
    fields = {**_FINE, draw(st.sampled_from(["doc_id", "worker"])): _text(text), name: odd}
    return SINGLE_OBJECT_PREFIX + b"".join(fields[name] for name in _FIELDS)


ROWS = _rows()
"""The same where every field ends where it says: its value alone may be wrong."""

VALUES = _values()
"""The values of messages of which a field or two are at a limit, within it or beyond."""


def damaged(value: bytes, data: st.DataObject) -> bytes:
    """A value of which some bytes behind the frame are changed, cut out, put in or doubled."""
    body = bytearray(value)
    start = len(SINGLE_OBJECT_PREFIX)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(start, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "double"])):
            case "flip":
                body[at] = data.draw(st.integers(0, 255))
            case "cut":
                del body[at : at + data.draw(st.integers(1, 5))]
            case "insert":
                body[at:at] = data.draw(st.binary(min_size=1, max_size=5))
            case _:
                body += body[start:]
        if len(body) <= start:
            break
    return bytes(body)
