"""Removes secrets from events before they leave the process; if that fails, the field is not sent.

Details, metrics and error messages pass through a chain of redactors just before encoding. A field whose redaction
raised, took too long or returned a value that is not JSON is not sent: the event goes without it, `details._steptrail`
records that, and it is counted. Names and ids are not searched.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import orjson

from steptrail.producers.accounting import position
from steptrail.producers.extraction import dependencies_of
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.secrets.budget import Budget
from steptrail.producers.secrets.redactors import Recognizable, Redactor, Search, Tree, marks_search
from steptrail.schemas.foreign import let_through
from steptrail.schemas.values.values import Marks, clean_text, json_object

_log = fork_safe_log("steptrail.emitter")

_REPEAT_S = 30.0
_REST_SHARE = 20  # a redactor that took too long is suspended for this many times as long
_CUT_LENGTHS: Final = tuple(range(253, 257)) + tuple(range(1021, 1025)) + tuple(range(4093, 4097))
_SURE_CUT = 8189
_NOBODY: Final = range(0)
_LONG: Final = 8192
_MANY_STOPS: Final = 100_000
_NO_STOPS: Final = (
    bytes(range(32)) + b' "_ron-iat:,e0123456789' + bytes(range(128, 256))
)  # searches rarely stop at these

Fields = tuple[bytes, bytes, "str | None", "dict[str, Marks | None] | None", "list[str] | None"]
"""details, metrics, error_message, marks by field, the steps that the details say it depends on."""


@dataclass(frozen=True, slots=True)
class RedactionCounts:
    """Numbers of fields since the process started."""

    redacted: int
    """Sent without their secrets."""
    failed: int
    """Not sent, since a redactor raised, took too long or gave what cannot be sent."""
    unchecked: int = 0
    """Sent without some values, for which the budget of the event did not last."""


class _TooSlowError(Exception):
    pass


class Redaction:
    """A chain of redactors, in their order, for emitters: `StepEmitter(redact=Redaction([…]))`.

    A redactor that takes longer than `timeout_s` for a field has failed; nothing can stop it earlier. If it is a
    user's callable, it is then suspended for twenty times as long as it took, and the fields for it are not sent: so
    it costs the pipeline at most a twentieth of its time. Raises TypeError for a redactor that is not callable.
    """

    def __init__(self, redactors: Iterable[Redactor], *, timeout_s: float = 0.05) -> None:
        self._chain = tuple(redactors)
        for redactor in self._chain:
            if not callable(redactor):
                raise TypeError(f"a redactor is called with a field's name and value, {redactor!r} cannot be")
        self._timeout_s = timeout_s
        self._concerns = tuple(_prefilter((redactor,)) for redactor in self._chain)
        self._seems_to_concern = _prefilter(self._chain)
        self._seem_to_concern = _prefilters(self._chain)
        self._rests_until: dict[int, float] = {}
        self._redacted = count()
        self._failed = count()
        self._unchecked = count()
        self._told_at = -_REPEAT_S

    @property
    def counts(self) -> RedactionCounts:
        """The counts so far."""
        return RedactionCounts(position(self._redacted), position(self._failed), position(self._unchecked))

    def __reduce__(self) -> tuple[Any, ...]:
        for number, redactor in enumerate(self._chain):
            try:
                pickle.dumps(redactor)
            except Exception as error:
                if any(name.endswith("cloudpickle") for name in sys.modules):
                    break  # it may be the pickling itself, and can do more
                raise pickle.PicklingError(
                    f"redactor {number} cannot be pickled, so neither can what it redacts for: {error};"
                    " make it a function of a module, or open the storage in the process that uses it"
                ) from error
        return _redaction, (self._chain, self._timeout_s)

    def __call__(
        self, details: bytes, metrics: bytes, error: str | None, marks: dict[str, Marks | None] | None
    ) -> Fields | None:
        """Return the redacted fields, None for those that may be sent unchanged. Never raises.

        `details` and `metrics` are JSON text; `marks` maps fields to earlier alterations, and is returned with those
        made here.
        """
        low = (details + metrics if error is None else b"".join((details, metrics, error.encode()))).lower()
        if self._seems_to_concern is not None:
            if len(low) <= _LONG:
                if self._seems_to_concern(low) is None:
                    return None
            # The search for words is slower at some letters; a long text with very many of them skips it.
            elif len(low.translate(None, _NO_STOPS)) < _MANY_STOPS and not any(
                search(low) for search in self._seem_to_concern
            ):
                return None
        marks = dict(marks) if marks else {}
        budget = Budget(user_s=self._timeout_s)
        end = len(details)
        end_of_metrics = end + len(metrics)
        depends_on = None
        if details != b"{}":
            details, depends_on = self._json("details", details, self._chain_for(low, 0, end), marks, budget)
        if metrics != b"{}":
            metrics, _ = self._json(
                "metrics", metrics, self._chain_for(low, end, end_of_metrics), marks, budget
            )
        if error is not None:
            error = self._message(error, self._chain_for(low, end_of_metrics, len(low)), marks, budget)
        return details, metrics, error, marks, depends_on

    def _json(
        self, field: str, text: bytes, chain: range, marks: dict[str, Marks | None], budget: Budget
    ) -> tuple[bytes, list[str] | None]:
        before = marks.get(field) or {}
        try:
            if not chain and "cut" not in before:
                return text, dependencies_of(orjson.loads(text)) if b'"depends_on"' in text else None
            tree = orjson.loads(text)
            if "cut" in before:
                tree, chain = _without_stumps(tree), range(len(self._chain))
            tree = self._through_chain(field, tree, chain, len(text), budget)
            if tree is None:
                tree = {}
            if type(tree) is not dict:
                raise TypeError(f"a redactor made {type(tree).__name__} of an object")
            new, altered = json_object(tree, max(2 * len(text), 4096))
            if altered:
                # A value that is not JSON would be sent as its repr, which no redactor has seen.
                raise TypeError(f"a redactor gave values that JSON does not hold: {', '.join(altered)}")
            depends_on = dependencies_of(tree)
        except Exception as error:
            let_through(error)
            self._fail(field, error, marks)
            return b"{}", None
        if new != text:
            self._mark(field, marks, budget)
        return new, depends_on

    def _message(self, text: str, chain: range, marks: dict[str, Marks | None], budget: Budget) -> str | None:
        try:
            cut = "cut" in (marks.get("error_message") or {})
            given = _stump_cut(text) if cut else text
            new = self._through_chain("error_message", given, chain, len(text), budget)
            if new is None:
                self._mark("error_message", marks, budget)
                return None
            if not isinstance(new, str):
                raise TypeError(f"a redactor made {type(new).__name__} of a message")
            new, _ = clean_text(str(new), max(2 * len(text), 4096))
        except Exception as error:
            let_through(error)
            self._fail("error_message", error, marks)
            return None
        if new != text:
            self._mark("error_message", marks, budget)
        return new

    def _chain_for(self, low: bytes, begin: int, end: int) -> range:
        """Indexes of the redactors to run, from the first one that may match this part of the lower-case text."""
        if end - begin > _LONG:  # a prefilter would cost more than it saves
            return range(len(self._chain))
        if begin and self._seems_to_concern is not None and self._seems_to_concern(low, begin, end) is None:
            return _NOBODY  # the most common case: what is to be redacted is in the details
        for number, concerns in enumerate(self._concerns):
            if concerns is None or concerns(low, begin, end) is not None:
                return range(number, len(self._chain))
        return _NOBODY

    def _through_chain(self, field: str, value: Any, chain: range, size: int, budget: Budget) -> Any:
        budget.begin(field)
        for number in chain:
            redactor = self._chain[number]
            if isinstance(redactor, Tree) and redactor.ours:
                value = redactor.within(budget, value)
            else:
                value = self._by_user(number, field, value, size, budget)
            if value is None:
                return None
        return value

    def _by_user(self, number: int, field: str, value: Any, size: int, budget: Budget) -> Any:
        """Run a user-defined redactor: nothing can stop it, so those that took too long are suspended for a while."""
        redactor = self._chain[number]
        started = time.monotonic()
        if started < self._rests_until.get(number, started):
            raise _TooSlowError(f"redactor {number} rests, having taken too long")
        if budget.user_s < 0 or not budget.spend(size):
            raise _TooSlowError(
                f"redactor {number} was not called, the others took all that an event may cost"
            )
        budget.begin_users()
        try:
            value = redactor.within(budget, value) if isinstance(redactor, Tree) else redactor(field, value)
        finally:
            within = budget.end_users()
            took = time.monotonic() - started
            if took > self._timeout_s:
                self._rests_until[number] = started + took * (1 + _REST_SHARE)
        if took > self._timeout_s or not within:
            raise _TooSlowError(f"redactor {number} took {took:.3f} s, {self._timeout_s:g} s are allowed")
        return value

    def _mark(self, field: str, marks: dict[str, Marks | None], budget: Budget) -> None:
        next(self._redacted)
        found = {**(marks.get(field) or {}), "redacted": 1}
        if budget.unchecked:
            next(self._unchecked)
            found["unchecked"] = budget.unchecked
        marks[field] = found

    def _fail(self, field: str, error: Exception, marks: dict[str, Marks | None]) -> None:
        next(self._failed)
        marks[field] = {**(marks.get(field) or {}), "redaction_failed": 1}
        now = time.monotonic()
        if now - self._told_at >= _REPEAT_S:
            self._told_at = now
            # Never the error's text, unless steptrail wrote it: it may quote the value.
            why = f": {error}" if isinstance(error, _TooSlowError) else ""
            kind = type(error).__name__
            _log.error("%s of a step was not sent, its redaction failed (%s%s)", field, kind, why)


def _redaction(chain: tuple[Redactor, ...], timeout_s: float) -> Redaction:
    return Redaction(chain, timeout_s=timeout_s)


def as_redaction(redact: Redaction | Iterable[Redactor] | None) -> Redaction | None:
    """Convert an emitter's argument `redact`; None and an empty chain mean no redaction."""
    if redact is None or isinstance(redact, Redaction):
        return redact
    if isinstance(redact, str | bytes | Mapping) or not isinstance(redact, Iterable):
        raise TypeError("redact must be a list of redactors, such as [secret_keys(), common_secrets()]")
    chain = list(redact)
    return Redaction(chain) if chain else None


def _prefilter(chain: tuple[Redactor, ...]) -> Search | None:
    """A search over lower-case JSON text for what any redactor needs to match; None when any text may match."""
    words: set[str] = set()
    shapes: list[bytes] = []
    for redactor in chain:
        if not isinstance(redactor, Recognizable) or redactor.words is None:
            return None
        words |= redactor.words
        shapes.extend(redactor.shapes)
    return marks_search(words, shapes)


def _prefilters(chain: tuple[Redactor, ...]) -> list[Search]:
    """One search for words and one for numbers, so that many numbers do not slow the search for words."""
    known = [redactor for redactor in chain if isinstance(redactor, Recognizable)]
    shapes = [shape for redactor in known for shape in redactor.shapes]
    words = [word for redactor in known for word in redactor.words or ()]
    numbers = [shape for shape in shapes if shape[:1].isdigit()]
    return [
        marks_search(words, [shape for shape in shapes if shape not in numbers]),
        marks_search((), numbers),
    ]


def _without_stumps(value: Any) -> Any:
    """The value, with truncated texts losing their last word: no redactor recognizes half a secret."""
    if type(value) is str:
        size = len(value.encode())
        return _stump_cut(value) if size >= _SURE_CUT or size in _CUT_LENGTHS else value
    if type(value) is list:
        return [_without_stumps(item) for item in value]
    if type(value) is dict:
        return {_without_stumps(key): _without_stumps(item) for key, item in value.items()}
    return value


def _stump_cut(text: str) -> str:
    end = len(text)
    while end and not text[end - 1].isspace():
        end -= 1
    return text[:end].rstrip("0123456789- \t\r\n")
