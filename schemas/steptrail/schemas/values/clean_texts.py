"""Texts as UTF-8, JSON and the store can hold them: without NUL and lone surrogates, and not too long."""

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
    """A text as UTF-8 can hold it, without NUL, at most `limit_bytes` long, and what was altered."""
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
    """As `clean_text`, for names and ids: a text that is cut ends in a hash of the whole, so that two stay two.

    Of one of more than a million characters the hash is that of its first and last half million and its length.
    Readers pass what they look for through the same function, and find it.
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
    """The text made clean and cut to so many bytes, at a whole character; at the cost of what is kept."""
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
    """So many alterations of a kind more."""
    marks[kind] = marks.get(kind, 0) + more


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spell_out(value: str, marks: Marks) -> str:
    """The text without NUL and lone surrogates."""
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
