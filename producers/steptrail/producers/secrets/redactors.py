"""Redactors that find secrets by key names and text patterns, and the replacements for them."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, cast, runtime_checkable

import orjson

from steptrail.producers.secrets.budget import NODE_COST, UNCHECKED, Budget

REDACTED: Final = "***"

Replace = Callable[[str], str]
"""What stands for a secret, given it."""
Span = tuple[int, int]
Find = Callable[[str], Iterable[Span]]
"""Where in a text the secrets are, in order, none within another."""

Search = Callable[..., object]
"""Searches bytes, or those between two indexes; None when nothing is found."""

_CACHED_KEYS = 4096
_PLAIN_RUN = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.@:/+=-]*"?|\A')
_WILD = re.compile(r"\[!?\]?[^\]]*\]|[*?\[\]]")
_JOINTS = re.compile("[_-]")
_HUMPS = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONG_NUMBER = 10**11
_LONG_TEXT: Final = 8192
_FEW_WORDS: Final = 2
_TEXT_COST: Final = 256
_KEY_COST: Final = 192
_LONGEST_KEY: Final = 256
_LONGEST_PAIR: Final = 16
_NAME_KEYS: Final = frozenset(
    {"name", "key", "field", "header", "variable", "var", "env", "param", "parameter"}
)
_VALUE_KEYS: Final = frozenset({"value", "values", "val", "content", "data", "default", "secret"})
# The most common last; letters not listed are rarer still.
_COMMON: Final = 'zqjxkvwbyghcfpmudls_ron-iat:,e" '


@runtime_checkable
class Recognizable(Protocol):
    """A redactor that declares what every matching value contains, so that other values skip it.

    `words` are ASCII texts; `shapes` are regular expressions for bytes. Both are searched case-insensitively in the
    UTF-8 text of the JSON. `words` is None if this is unknown.
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
    """Replace any secret by three asterisks."""
    return REDACTED


def hashed(salt: bytes | str) -> Replace:
    """Replace by a keyed hash (BLAKE2b, 96 bits): equal secrets still group, and only a holder of `salt` can test a
    guess.

    Keep the salt like a password: secrets with few possible values can be found by trying. Raises ValueError when it
    has fewer than 8 bytes.
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
    """Hide the values of keys, at any depth, whose names match a glob (`*password*`, `ssn`), ignoring case.

    `client_id` also matches `clientId` and `client-id`. Keys written as values match, too:
    `{"name": "ssn", "value": …}`, `["ssn", …]` and `["--ssn", …]`.
    """
    return ByKey(globs, replace)


def by_pattern(
    *patterns: str | re.Pattern[str], words: Iterable[str] | None = None, replace: Replace = removed
) -> Recognizable:
    """Hide matches in texts, at any depth, also in keys: the group named `secret`, or the whole match.

    `words`: give these if every match contains one of them, ignoring case; values without any are then skipped at no
    cost. Write patterns that take linear time: nothing can stop a slow one.
    """
    marks = () if words is None else _checked(words)
    finds = [(finder(re.compile(pattern)), marks) for pattern in patterns]
    return ByFinding(finds, replace, words=marks if words is not None else None, ours=False)


class Tree:
    """Walks JSON values within a budget."""

    ours = True
    """False for what may take longer than linear time."""

    def __call__(self, field: str, value: Any) -> Any:
        """The value without its secrets, with its own budget."""
        budget = Budget()
        budget.begin(field)
        return self.within(budget, value)

    def within(self, budget: Budget, value: Any) -> Any:
        """The value without its secrets, and without what exceeds the budget."""
        kind = type(value)
        if kind is str:
            return self._text(budget, value)
        if kind is dict:
            return self._object(budget, value)
        if kind is list:
            return self._array(budget, value)
        if (kind is int or kind is float) and abs(value) >= _LONG_NUMBER:  # such as a card number
            text = str(value)
            clean = self._text(budget, text)
            return value if clean == text else clean
        return value

    def _array(self, budget: Budget, value: list[Any]) -> list[Any]:
        out: list[Any] = []
        for item in value:
            budget.left -= NODE_COST
            if budget.left < 0:
                out.append(budget.leave_out())
                break
            out.append(self.within(budget, item))
        return out

    def _object(self, budget: Budget, value: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        same: dict[str, int] = {}
        for key, item in value.items():
            budget.left -= NODE_COST
            if budget.left < 0:
                out[UNCHECKED] = budget.leave_out()
                break
            clean = unused = self._key(budget, key)
            while unused in out:
                same[clean] = same.get(clean, 1) + 1
                unused = f"{clean}#{same[clean]}"
            out[unused] = self._item(budget, key, item)
        return out

    def _key(self, budget: Budget, key: str) -> str:
        return self._text(budget, key)

    def _item(self, budget: Budget, _key: str, item: Any) -> Any:
        return self.within(budget, item)

    def _text(self, _budget: Budget, text: str) -> str:
        return text


class ByKey(Tree):
    """Hides the values of keys that match."""

    def __init__(self, globs: tuple[str, ...], replace: Replace, words: Iterable[str] | None = None) -> None:
        # ASCII case only, as in the search for `words`.
        both = dict.fromkeys([*globs, *(glob.replace("-", "_") for glob in globs)])
        self._match = re.compile(
            "|".join(map(fnmatch.translate, both)) or r"(?!)", re.IGNORECASE | re.ASCII
        ).match
        self._known: dict[str, bool] = {}
        self._replace = replace
        marks = [mark for glob in globs for mark in _marks_of(glob)] if words is None else list(words)
        self.words: frozenset[str] | None = frozenset(marks) if all(marks) else None
        self.shapes: tuple[bytes, ...] = ()

    def _hides(self, budget: Budget, key: str) -> bool:
        hides = self._known.get(key)
        if hides is None:
            budget.left -= _KEY_COST
            if len(self._known) >= _CACHED_KEYS:
                self._known.clear()
            hides = self._known[key] = self._match(key) is not None or self._match(_snake(key)) is not None
        return hides

    def _item(self, budget: Budget, key: str, item: Any) -> Any:
        return self._hidden(item) if self._hides(budget, key) else self.within(budget, item)

    def _hidden(self, item: Any) -> Any:
        if item is None:
            return None
        return self._replace(
            item if type(item) is str else orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()
        )

    def _object(self, budget: Budget, value: dict[str, Any]) -> dict[str, Any]:
        if len(value) <= _LONGEST_PAIR:
            named = [item for key, item in value.items() if key.lower() in _NAME_KEYS and type(item) is str]
            if any(len(name) <= _LONGEST_KEY and self._hides(budget, name) for name in named):
                value = {
                    key: self._hidden(item) if key.lower() in _VALUE_KEYS else item
                    for key, item in value.items()
                }
        return super()._object(budget, value)

    def _array(self, budget: Budget, value: list[Any]) -> list[Any]:
        hidden: list[Any] | None = None
        pair = len(value) == 2
        for at in range(len(value) - 1):
            flag = value[at]
            if type(flag) is str and (flag.startswith("-") or pair) and len(flag) <= _LONGEST_KEY:
                name = flag.lstrip("-")
                if name and self._hides(budget, name):
                    hidden = hidden or list(value)
                    hidden[at + 1] = self._hidden(value[at + 1])
        return super()._array(budget, hidden or value)


class ByFinding(Tree):
    """Hides the spans that each of `finds` returns, in order."""

    def __init__(
        self,
        finds: Iterable[tuple[Find, Iterable[str]]],
        replace: Replace,
        *,
        words: Iterable[str] | None,
        shapes: tuple[bytes, ...] = (),
        ours: bool = True,
    ) -> None:
        """`finds`: functions, each with lower-case words one of which every match contains (none if unknown).
        `words`: values without any of them, and without `shapes`, have no match; None if unknown.
        """
        self._finds = tuple((find, tuple(marks), getattr(find, "work", len)) for find, marks in finds)
        self._finds_of_few = tuple(each for each in self._finds if len(each[1]) <= _FEW_WORDS)
        many = [words for _, words, _ in self._finds if len(words) > _FEW_WORDS]
        self._has_of_many = marks_search((word for words in many for word in words), ()) if many else None
        self._replace = replace
        self.words = None if words is None else frozenset(words)
        self.shapes = shapes
        self.ours = ours
        self._concerns = None if self.words is None else marks_search(self.words, shapes)
        self._clean_keys: set[str] = set()

    def _key(self, budget: Budget, key: str) -> str:
        if key in self._clean_keys:
            return key
        clean = self._text(budget, key)
        if clean == key and len(key) <= _LONGEST_KEY:
            if len(self._clean_keys) >= _CACHED_KEYS:
                self._clean_keys.clear()
            self._clean_keys.add(key)
        return clean

    def _text(self, budget: Budget, text: str) -> str:
        low = text.lower()
        size = len(text)
        budget.left -= size
        raw = low.encode() if size < _LONG_TEXT else b""
        if raw and self._concerns is not None and self._concerns(raw) is None:
            return text
        # The search for the words, which is slower in a hostile text.
        if not budget.spend(_TEXT_COST + size * (2 if size < _LONG_TEXT else 3)):
            return budget.leave_out()
        # One search for the words of all that have many: mostly none of them is there.
        few = bool(raw) and self._has_of_many is not None and self._has_of_many(raw) is None
        for find, words, work in self._finds_of_few if few else self._finds:
            if words:
                for word in words:
                    if word in low:
                        break
                else:
                    continue
            cost = work(text)
            if not cost:  # computing the cost showed that there is nothing to find
                continue
            if not budget.spend(cost) or (not self.ours and budget.over()):
                return budget.leave_out()
            parts: list[str] = []
            at = 0
            for start, end in find(text):
                parts += (text[at:start], self._replace(text[start:end]))
                at = end
            if at:
                text = "".join((*parts, text[at:]))
        return text


def marks_search(words: Iterable[str], shapes: Iterable[bytes]) -> Search:
    """Return a one-pass search over lower-case UTF-8 for any of the words and shapes."""
    # Each word is searched from one of its letters on, with a lookbehind for the rest: so the engine, which skips
    # at the speed of a character set to any alternative's first letter, stops rarely. A few rare letters cover all
    # words: those that words with only common letters need are chosen first.
    by_letter: dict[bytes, list[tuple[bytes, bytes]]] = {}
    chosen: set[str] = set()
    all_words = {word.lower() for word in words}
    low = sorted(word for word in all_words if not any(o != word and o in word for o in all_words))
    for word in sorted(low, key=lambda word: min(map(_COMMON.find, word)), reverse=True):
        there = chosen.intersection(word)
        letter = min(there or word, key=_COMMON.find)
        chosen.add(letter)
        at = word.index(letter)
        whole = b"(?<=%b)" % re.escape(word.encode()) if at else b""
        by_letter.setdefault(letter.encode(), []).append((word[at + 1 :].encode(), whole))
    alternatives = [re.escape(letter) + _by_next_letter(rests) for letter, rests in by_letter.items()]
    return re.compile(b"|".join([*alternatives, *shapes]) or rb"(?!)").search


def _by_next_letter(rests: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A pattern for texts, each with what follows it in the pattern: where they part, few alternatives are tried."""
    groups: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for text, then in rests:
        groups.setdefault(text[:1], []).append((text[1:], then))
    alternatives = [then for _, then in groups.pop(b"", ())]
    alternatives += [re.escape(letter) + _by_next_letter(group) for letter, group in groups.items()]
    return alternatives[0] if len(alternatives) == 1 else b"(?:" + b"|".join(alternatives) + b")"


def finder(pattern: re.Pattern[str], weight: int = 1) -> Find:
    """Return a function that finds a pattern's groups named `secret…`, or its whole matches.

    `weight`: time per byte, relative to an ordinary pattern.
    """
    named = [number for name, number in pattern.groupindex.items() if name.startswith("secret")]
    groups = named or [0]

    find: Any = functools.partial(_found, pattern, groups)
    find.work = functools.partial(_work_of, weight)
    return cast("Find", find)


def _found(pattern: re.Pattern[str], groups: list[int], text: str) -> Iterable[Span]:
    for match in pattern.finditer(text):
        for group in groups:
            start, end = match.span(group)
            if 0 <= start < end:
                yield start, end
                break


def _work_of(weight: int, text: str) -> int:
    return weight * len(text)


def _marks_of(glob: str) -> list[str]:
    """Texts, one of which is in any JSON with a key that matches the glob: a quote ends each key."""
    runs: list[str] = [run for part in _WILD.split(f'{glob}"') for run in _PLAIN_RUN.findall(part)]
    longest = max(runs, key=len)
    parts = _JOINTS.split(longest)
    if len(parts) > 3:
        return [max(parts, key=len)]
    return [joint.join(parts) for joint in ("", "_", "-")] if len(parts) > 1 else [longest]


def _snake(key: str) -> str:
    """The key's words joined by underscores, from any naming style."""
    return _HUMPS.sub("_", key).replace("-", "_").lower()


def _checked(words: Iterable[str]) -> tuple[str, ...]:
    found = tuple(word.lower() for word in words)
    for word in found:
        if not word or not word.isascii() or not word.isprintable() or '"' in word or "\\" in word:
            raise ValueError(f"words must be printable ASCII without quotes and backslashes, not {word!r}")
    if not found:
        raise ValueError("words must hold one word or more, or be None")
    return found
