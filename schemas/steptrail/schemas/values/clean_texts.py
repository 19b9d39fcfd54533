"""Cleans texts for UTF-8, JSON and ClickHouse: no NUL, no lone surrogates, bounded length."""

from __future__ import annotations

import hashlib
import re
from typing import Final

Marks = dict[str, int]
"""Kinds of alterations and how often each was made."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_HASHED: Final = 1 << 20
_PIECE: Final = 4096


def clean_text(value: str, limit_bytes: int) -> tuple[str, Marks | None]:
    """A text as valid UTF-8 without NUL, at most `limit_bytes` long, and the alterations."""
    if type(value) is not str:
        value = str.__getitem__(value, slice(None))
    if len(value) <= limit_bytes:
        if value.isascii():
            if "\0" not in value:
                return value, None
        elif len(value) * 4 <= limit_bytes and "\0" not in value and _encodes(value):
            return value, None
    marks: Marks = {}
    return cut_piece(value, limit_bytes, marks), marks or None


def identity_text(value: str, limit_bytes: int) -> tuple[str, Marks | None]:
    """As `clean_text`, for names and ids: a truncated text ends in a hash of the whole, so that distinct texts stay so.

    For more than a million characters, the hash covers the first and last half million and the length. Readers pass
    search terms through the same function, and find the text.
    """
    if type(value) is not str:
        value = str.__getitem__(value, slice(None))
    text, marks = clean_text(value, limit_bytes)
    if marks is None or "cut" not in marks:
        return text, marks
    whole = _spell_out(_ends(value), {})
    digest = "~" + hashlib.sha256(whole.encode()).hexdigest()[:16]
    again: Marks = {}
    text = cut_piece(value, limit_bytes - len(digest), again) + digest
    return text, {**marks, **again}


def cut_piece(value: str, limit: int, marks: Marks) -> str:
    """Clean a text and truncate it to `limit` bytes at a whole character; costs as much as the part kept."""
    limit = max(limit, 0)
    seen = min(len(value), limit)
    head = value[:seen] if seen < len(value) else value
    if "\0" in head or not (head.isascii() or _encodes(head)):
        parts: list[str] = []
        size = seen = 0
        while seen < len(head) and size < limit:
            parts.append(_spell_out(head[seen : seen + _PIECE], marks))
            size += len(parts[-1])
            seen += _PIECE
        seen = min(seen, len(head))
        head = "".join(parts)
    kept = head
    if len(head) * 4 > limit:
        encoded = head.encode()
        if len(encoded) > limit:
            kept = encoded[:limit].decode("utf-8", "ignore")
    cut = len(value) - seen + len(head) - len(kept)
    if cut:
        count_mark(marks, "cut", cut)
    return kept


def count_mark(marks: Marks, kind: str, more: int = 1) -> None:
    """Count `more` alterations of a kind."""
    marks[kind] = marks.get(kind, 0) + more


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spell_out(value: str, marks: Marks) -> str:
    """Escape NUL and lone surrogates."""
    if "\0" in value:
        count_mark(marks, "nul", value.count("\0"))
        value = value.replace("\0", "\\x00")
    if not value.isascii() and not _encodes(value):
        count_mark(marks, "surrogates", len(_SURROGATES.findall(value)))
        value = value.encode("utf-8", "backslashreplace").decode()
    return value


def _ends(value: str) -> str:
    if len(value) <= _HASHED:
        return value
    return f"{value[: _HASHED // 2]}{value[-_HASHED // 2 :]}{len(value)}"
