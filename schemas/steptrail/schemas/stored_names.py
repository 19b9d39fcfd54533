"""Names and ids as stored: one limit shared by emitters, readers and rules that name steps."""

from __future__ import annotations

import fnmatch
import hashlib
from functools import lru_cache
from typing import Final

from steptrail.schemas.values.values import identity_text

MAX_NAME_BYTES: Final = 1024
"""The default of the setting `max_name_bytes`."""

_ENDLESS: Final = 2**62
_DIGITS: Final = 16


def stored_name(name: str, limit_bytes: int = MAX_NAME_BYTES) -> str:
    """A document id, step or error type as emitters write it: UTF-8, truncated with a hash beyond the limit."""
    return identity_text(name, limit_bytes)[0]


def matches_name(stored: str, glob: str) -> bool:
    """Whether a stored name matches a glob, or a name of any length. Case-sensitive."""
    return fnmatch.fnmatchcase(stored, glob) or _is_stored_as(stored, glob)


def _is_stored_as(stored: str, name: str) -> bool:
    """Whether `name` is stored as `stored`, whatever the emitter's limit."""
    whole, tail = _spelled(name)
    return stored == whole or (stored.endswith(tail) and whole.startswith(stored[: -len(tail)]))


@lru_cache(4096)
def _spelled(name: str) -> tuple[str, str]:
    whole = identity_text(name, _ENDLESS)[0]
    return whole, "~" + hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
