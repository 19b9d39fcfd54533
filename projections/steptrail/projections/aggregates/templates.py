"""The template of an error message: what messages have in common that differ in numbers, names and places alone.

    no answer from 10.0.0.7:8443 within 30 s  →  no answer from <addr> within <num> s

It is computed by the engine, where the messages are, and this is its only definition. The same message gives the
same template for ever: groups are known by it, so a change here makes new groups of old errors.

A message is taken through a row of replacements. While they run, a placeholder is one control character; what is
written `<num>` in the message itself becomes that character before the first of them. That is why the template of a
template is itself: no replacement matches a character that a later one makes, or decides by what stands beside it,
so that nothing can match afterwards what did not match before.
"""

from __future__ import annotations

from typing import Final

LONGEST_INPUT: Final = 2048
"""Bytes of a message that are looked at."""
LONGEST: Final = 256
"""Characters of a template, each placeholder counted as one; what is longer ends in an ellipsis. So a template has
at most 1,792 bytes, and is itself looked at whole."""

PLACEHOLDERS: Final = {
    "<url>": "\x01",
    "<time>": "\x02",
    "<path>": "\x03",
    "<email>": "\x04",
    "<id>": "\x05",
    "<addr>": "\x06",
    "<num>": "\x07",
    "<str>": "\x08",
}
_URL, _TIME, _PATH, _EMAIL, _ID, _ADDR, _NUM, _STR = PLACEHOLDERS.values()

_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?(?: ?(?:[AP]M|Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? "
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t|tember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_IN_PATH = rf"[\p{{L}}\p{{M}}\p{{Nd}}_.~@%+={_TIME}-]"

_BLANKS = r"[\p{Z}\p{C}]+"
REPLACEMENTS: Final = (
    (r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\x00-\x20'\"`<>(){}\[\],;…]+", _URL),
    # 2026-05-04T12:00:00.123Z, 04/May/2026:12:00:00 +0000, Mon, 4 May 2026 12:00:00 GMT, 4.5.2026, 12:00:00,123
    (
        rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T_ ]{_CLOCK})?"
        rf"|[0-9]{{1,4}}/[0-9]{{1,2}}/[0-9]{{2,4}}(?:,? {_CLOCK})?"
        rf"|[0-9]{{1,2}}\.[0-9]{{1,2}}\.[0-9]{{4}}(?:,? {_CLOCK})?"
        rf"|(?:{_DAY})?[0-9]{{1,2}}[ /-]{_MONTH}[ /-][0-9]{{4}}(?:[: ]{_CLOCK})?"
        rf"|(?:{_DAY})?{_MONTH} [0-9]{{1,2}}(?:,? {_CLOCK})?(?:,? [0-9]{{4}})?"
        r"|[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?",
        _TIME,
    ),
    # With two slashes at least: and/or, n/a and application/json are no paths.
    (
        rf"[A-Za-z]:\\[^\x00\x01\x03-\x20'\"`<>|*?:,;…]+|\\\\{_IN_PATH}+\\[^\x00\x01\x03-\x20'\"`<>|*?:,;…]+"
        rf"|[\p{{L}}\p{{M}}\p{{Nd}}_.~{_TIME}-]*(?:/{_IN_PATH}+){{2,}}/?|~/{_IN_PATH}+",
        _PATH,
    ),
    (r"[0-9A-Za-z._%+-]+@[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)+", _EMAIL),
    # UUIDs, JWTs, hashes, addresses in memory
    (
        r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
        r"|eyJ[0-9A-Za-z_=-]+(?:\.[0-9A-Za-z_=-]+)+|0[xX][0-9a-fA-F]+|[0-9a-f]{16,}|[0-9A-F]{16,}",
        _ID,
    ),
    (r"@[0-9a-f]{5,16}", "@" + _ID),  # java.lang.Object@1b2c3d
    # IPv4, IPv6 and MAC, and a.host.name:port
    (
        r"[0-9]+(?:\.[0-9]+){3,}(?::[0-9]+|/[0-9]{1,2})?"
        r"|[0-9a-fA-F]{4}::[0-9a-fA-F:]+(?:/[0-9]{1,3})?"
        r"|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){3,}(?:/[0-9]{1,3})?"
        r"|[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+){2,}:[0-9]+",
        _ADDR,
    ),
    (r"[0-9]+\.[0-9]+[eE][+-]?[0-9]+|[0-9]+[eE][+-][0-9]+", _NUM),
    # ULIDs, short hashes, and other words of digits, letters and digits
    (r"[0-9A-Za-z]*[0-9][A-Za-z]+[0-9][0-9A-Za-z]*", _ID),
    (r"\p{Nd}+(?:[.,]\p{Nd}+)*", _NUM),
    (r'"[^"\x08]*"|`[^`\x08]*`|“[^”\x08]*”|«[^»\x08]*»|「[^」\x08]*」', _STR),
    # An apostrophe within a word neither opens nor ends a quotation.
    (r"\B'(?:[^'\x08]|\b'\b)*'\B", _STR),
    # Lists of any length are one.
    (r"\x07(?:[,;] ?\x07)+", _NUM),
    (r"\x05(?:[,;] ?\x05)+", _ID),
    (r"\x08(?:[,;] ?\x08)+", _STR),
)


def template_sql(message: str) -> str:
    """SQL: the template of the text `message` (an expression that is no Nullable and free of `piece` and `whole`)."""
    begins = f"toValidUTF8(substring({message}, 1, {LONGEST_INPUT}))"
    seen = f"trim(BOTH ' ' FROM replaceRegexpAll({begins}, {_literal(_BLANKS)}, ' '))"
    # Said of a message that was not looked at to its end; of a long template below.
    text = f"if(length({message}) > {LONGEST_INPUT}, concat({seen}, '…'), {seen})"
    for shown, kept in PLACEHOLDERS.items():
        text = f"replaceAll({text}, {_literal(shown)}, {_literal(kept)})"
    # What is cut may match where the whole did not, hence the second time.
    short = f"concat(substringUTF8(whole, 1, {LONGEST - 1}), '…')"
    text = (
        f"arrayMap(whole -> if(lengthUTF8(whole) > {LONGEST}, {_replaced(short)}, whole), "
        f"[{_replaced(text)}])[1]"
    )
    for shown, kept in PLACEHOLDERS.items():
        text = f"replaceAll({text}, {_literal(kept)}, {_literal(shown)})"
    return text


def _replaced(text: str) -> str:
    for pattern, replacement in REPLACEMENTS:
        text = f"replaceRegexpAll({text}, {_literal(pattern)}, {_literal(replacement)})"
    return text


def _literal(text: str) -> str:
    r"""`text` as an SQL literal; control characters as \xHH."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + "".join(f"\\x{ord(c):02x}" if c < " " else c for c in escaped) + "'"
