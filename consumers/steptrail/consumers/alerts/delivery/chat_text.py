"""Makes untrusted text safe for chats: measured, truncated between characters, without controls and mentions."""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"

_BREAK = "\u200b"
_SPACES = re.compile(r"[ \t\r\n\v\f\x85\u2028\u2029]+")
# Controls, bidi and invisible characters: they could make one address look like another.
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all|online|group)\b)", re.IGNORECASE)
_MARKUP = re.compile(r"<(?=[!@#&/:a-z])|\](?=[(\[])", re.IGNORECASE)
_DISCORD = re.compile(r"[\\*_~`|\[\]<>@:]")
_JOINER = "\u200d"


def plain(text: str) -> str:
    """One line, with controls and invisible characters escaped: `\\x1b`, `\\u202e`."""
    return _HIDDEN.sub(_written_out, _SPACES.sub(" ", text)).strip()


def unmentioned(text: str) -> str:
    """Visually the same text for an unknown receiver, without mentions, links or tags that it might interpret."""
    return _MARKUP.sub(lambda found: found[0] + _BREAK, _MENTION.sub("@" + _BREAK, text))


def for_slack(text: str) -> str:
    """Escape Slack's three control characters, so that nothing is a mention or a link."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub("@" + _BREAK, escaped)


def for_discord(text: str) -> str:
    """Escape Markdown and break mentions; the message also disallows mentions."""
    return _DISCORD.sub(lambda found: "\\" + found[0], _MENTION.sub("@" + _BREAK, text))


def units(text: str) -> int:
    """The length as the strictest receivers count it: UTF-16 units, two for an emoji."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, most: int) -> str:
    """Truncate to `most` units: at a word if that costs little, and always at a whole user-perceived character."""
    if units(text) <= most:
        return text
    if most < 1:
        return ""
    end, size = 0, 1  # the ellipsis
    while size + units(text[end]) <= most:
        size += units(text[end])
        end += 1
    while end and _inside(text, end):
        end -= 1
    word = text.rfind(" ", 0, end + 1)
    if word > end // 2:
        end = word
    return text[:end].rstrip() + ELLIPSIS


def _inside(text: str, at: int) -> bool:
    """Whether a cut before text[at] would split a user-perceived character."""
    mark, before = text[at], text[at - 1]
    if unicodedata.category(mark).startswith("M") or mark == _JOINER or before == _JOINER:
        return True
    if "\U0001f3fb" <= mark <= "\U0001f3ff":  # a skin tone
        return True
    if _is_flag(mark) and _is_flag(before):
        run = len(text[:at]) - len(text[:at].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
        return run % 2 == 1
    return False


def _is_flag(mark: str) -> bool:
    return "\U0001f1e6" <= mark <= "\U0001f1ff"


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
