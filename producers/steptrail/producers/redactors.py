"""What finds secrets in values: by the names of keys, by patterns in texts, and what takes their place."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, runtime_checkable

import orjson

REDACTED: Final = "***"

Replace = Callable[[str], str]
"""What stands for a secret, given it."""
Span = tuple[int, int]
Find = Callable[[str], Iterable[Span]]
"""Where in a text the secrets are, in order, none within another."""

_CACHED_KEYS = 4096
_PLAIN_RUN = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.@:/+=-]*"?|\A')
_WILD = re.compile(r"\[!?\]?[^\]]*\]|[*?\[\]]")
_LONG_NUMBER = 10**11
# The commonest last; what is not in here is rarer still.
_COMMON: Final = 'zqjxkvwbyghcfpmudls_ron-iat:,e" '


@runtime_checkable
class Recognizable(Protocol):
    """A redactor that says what every value that concerns it has in it, so that the others are spared.

    `words` are ASCII texts; `shapes` are regular expressions for bytes. Both are looked for, whatever the case, in the
    UTF-8 text of the JSON. None for `words`: cannot be said.
    """

    words: frozenset[str] | None
    shapes: tuple[bytes, ...]

    def __call__(self, field: str, value: Any) -> Any:
        """The value without its secrets."""
        ...


Redactor = Recognizable | Callable[[str, Any], Any]
"""Called with the name of a field (details, metrics, error_message) and its value, of JSON's types; what it returns
is sent instead. None drops the field. What it raises drops the field too."""


def removed(_secret: str) -> str:
    """Three asterisks, whatever the secret."""
    return REDACTED


def hashed(salt: bytes | str) -> Replace:
    """A keyed hash (BLAKE2b, 96 bits), so that equal secrets still group, and only who has `salt` can test a guess.

    Keep the salt as one keeps a password: secrets of few possible values are found by trying. Raises ValueError when
    it has fewer than 8 bytes.
    """
    key = salt.encode() if isinstance(salt, str) else bytes(salt)
    if len(key) < 8:
        raise ValueError(f"the salt of hashed() must have 8 bytes or more, not {len(key)}")
    if len(key) > 64:
        key = hashlib.blake2b(key).digest()

    return functools.partial(_hash_of, key)


def _hash_of(key: bytes, secret: str) -> str:
    text = secret.encode("utf-8", "surrogatepass")
    return "#" + hashlib.blake2b(text, key=key, digest_size=12).hexdigest()


def by_key(*globs: str, replace: Replace = removed) -> Recognizable:
    """Hides the values of keys, at any depth, whose names match a glob (`*password*`, `ssn`), whatever the case."""
    return _ByKey(globs, replace)


def by_pattern(
    *patterns: str | re.Pattern[str], words: Iterable[str] | None = None, replace: Replace = removed
) -> Recognizable:
    """Hides what matches in texts, at any depth, in keys too: the group named `secret`, or the whole match.

    `words`: when each match holds one of them, whatever the case, say so, and values without are passed over at no
    cost. Write patterns that take linear time: nothing can stop one that does not.
    """
    marks = () if words is None else _checked(words)
    finds = [(finder(re.compile(pattern)), marks) for pattern in patterns]
    return ByFinding(finds, replace, all_marked=words is not None)


class _Tree:
    """Walks values of JSON's types."""

    def __call__(self, field: str, value: Any) -> Any:
        return self._any(value)

    def _any(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is dict:
            return self._object(value)
        if kind is list:
            return [self._any(item) for item in value]
        if (kind is int or kind is float) and abs(value) >= _LONG_NUMBER:  # a card's number, for instance
            text = str(value)
            clean = self._text(text)
            return value if clean == text else clean
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            clean = unused = self._text(key)
            more = 2
            while unused in out:
                unused = f"{clean}#{more}"
                more += 1
            out[unused] = self._item(key, item)
        return out

    def _item(self, _key: str, item: Any) -> Any:
        return self._any(item)

    def _text(self, text: str) -> str:
        return text


class _ByKey(_Tree):
    def __init__(self, globs: tuple[str, ...], replace: Replace) -> None:
        # Case of ASCII only: as `words` are looked for.
        self._match = re.compile(
            "|".join(map(fnmatch.translate, globs)) or r"(?!)", re.IGNORECASE | re.ASCII
        ).match
        self._known: dict[str, bool] = {}
        self._replace = replace
        marks = [_mark_of(glob) for glob in globs]
        self.words: frozenset[str] | None = frozenset(marks) if all(marks) else None
        self.shapes: tuple[bytes, ...] = ()

    def _item(self, key: str, item: Any) -> Any:
        hides = self._known.get(key)
        if hides is None:
            if len(self._known) >= _CACHED_KEYS:
                self._known.clear()
            hides = self._known[key] = self._match(key) is not None
        if not hides:
            return self._any(item)
        if item is None:
            return None
        return self._replace(
            item if type(item) is str else orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
        )


class ByFinding(_Tree):
    """Hides the spans that `finds` find, one after the other."""

    def __init__(
        self,
        finds: Iterable[tuple[Find, Iterable[str]]],
        replace: Replace,
        *,
        all_marked: bool,
        shapes: tuple[bytes, ...] = (),
    ) -> None:
        """`finds`: each with lower-case words of which a text has one if there is something to find, none if that
        cannot be said. `all_marked`: values without such words, and without `shapes`, have nothing to find.
        """
        self._finds = tuple((find, tuple(words)) for find, words in finds)
        self._replace = replace
        self.words = frozenset(word for _, words in self._finds for word in words) if all_marked else None
        self.shapes = shapes
        self._concerns = None if self.words is None else marks_search(self.words, shapes)

    def _text(self, text: str) -> str:
        low = text.lower()
        if self._concerns is not None and self._concerns(low.encode()) is None:
            return text
        for find, words in self._finds:
            if words:
                for word in words:
                    if word in low:
                        break
                else:
                    continue
            parts: list[str] = []
            at = 0
            for start, end in find(text):
                parts += (text[at:start], self._replace(text[start:end]))
                at = end
            if at:
                text = "".join((*parts, text[at:]))
        return text


def marks_search(words: Iterable[str], shapes: Iterable[bytes]) -> Callable[[bytes], object]:
    """Searches lower-case UTF-8 for any of the words and shapes, in one pass."""
    # Each word is looked for from its rarest letter on, what is before it by looking back: so the engine, which
    # skips at the speed of a set to what any alternative begins with, stops at few places.
    by_letter: dict[bytes, list[bytes]] = {}
    for word in sorted({word.lower() for word in words}):
        at = min(range(len(word)), key=lambda n, word=word: (_COMMON.find(word[n]), n))  # type: ignore[misc]
        whole, tail = re.escape(word.encode()), re.escape(word[at + 1 :].encode())
        by_letter.setdefault(re.escape(word[at].encode()), []).append(
            tail + b"(?<=%b)" % whole if at else tail
        )
    alternatives = [letter + b"(?:" + b"|".join(rests) + b")" for letter, rests in by_letter.items()]
    return re.compile(b"|".join([*alternatives, *shapes]) or rb"(?!)").search


def finder(pattern: re.Pattern[str]) -> Find:
    """Finds the groups of a pattern whose names begin with `secret`, or its whole matches."""
    named = [number for name, number in pattern.groupindex.items() if name.startswith("secret")]
    groups = named or [0]

    return functools.partial(_found, pattern, groups)


def _found(pattern: re.Pattern[str], groups: list[int], text: str) -> Iterable[Span]:
    for match in pattern.finditer(text):
        for group in groups:
            start, end = match.span(group)
            if 0 <= start < end:
                yield start, end
                break


def _mark_of(glob: str) -> str:
    """The longest text that JSON has in it wherever it has a key that matches the glob: a quote ends each key."""
    runs: list[str] = [run for part in _WILD.split(f'{glob}"') for run in _PLAIN_RUN.findall(part)]
    return max(runs, key=len)


def _checked(words: Iterable[str]) -> tuple[str, ...]:
    found = tuple(word.lower() for word in words)
    for word in found:
        if not word or not word.isascii() or not word.isprintable() or '"' in word or "\\" in word:
            raise ValueError(f"words must be printable ASCII without quotes and backslashes, not {word!r}")
    if not found:
        raise ValueError("words must hold one word or more, or be None")
    return found
