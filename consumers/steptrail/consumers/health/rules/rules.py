"""The rules file: policy by pipeline and step, validated whole before any of it is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from steptrail.consumers.health.rules.policy import Policy, Threshold
from steptrail.consumers.health.rules.toml_lines import TomlMistake, read_toml
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.stored_names import matches_name

RULE_NAMES = ("errors", "durations", "silence", "stalled", "thresholds", "losses")
_GROUPS = tuple(f.name for f in fields(Policy) if f.name not in ("thresholds", "silenced"))


class RulesError(ConfigurationError):
    """A rules file is wrong; the message names every line and key. Nothing of it is in force."""

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))
        lines = "\n".join(f"{source}, {mistake}" for mistake in self.mistakes)
        super().__init__(f"{lines}\nNothing of this file is in force; the rules stay as they were.")


@dataclass(frozen=True)
class Mistake:
    """What is wrong with one key; `line` counts from 1, None if it could not be told."""

    line: int | None
    key: str
    what: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "somewhere"
        return f"{where}, {self.key}: {self.what}" if self.key else f"{where}: {self.what}"


@dataclass(frozen=True)
class Rule:
    """What one `[[rule]]` changes for the steps that its globs match; parameters that it does not name stay."""

    pipeline: str = "*"
    step: str = "*"
    changes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    silenced: frozenset[str] | None = None

    def matches(self, pipeline: str, step: str) -> bool:
        """Globs as of the shell; upper and lower case differ."""
        return matches_name(pipeline, self.pipeline) and matches_name(step, self.step)

    def applied(self, policy: Policy) -> Policy:
        """`policy` with this rule's changes."""
        parts: dict[str, Any] = {
            name: replace(getattr(policy, name), **changes) for name, changes in self.changes.items()
        }
        if self.silenced is not None:
            parts["silenced"] = self.silenced
        return replace(policy, thresholds=policy.thresholds + self.thresholds, **parts)


class Rules:
    """All rules in their order: each that matches changes what those before it left. Without any: the defaults."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self.rules = rules
        self._policies: dict[tuple[int, ...], Policy] = {(): Policy()}

    def policy(self, pipeline: str, step: str) -> Policy:
        """For one step; steps that the same rules match share one object. `step` "" is the pipeline itself."""
        matching = tuple(n for n, rule in enumerate(self.rules) if rule.matches(pipeline, step))
        if matching not in self._policies:
            policy = Policy()
            for number in matching:
                policy = self.rules[number].applied(policy)
            self._policies[matching] = policy
        return self._policies[matching]

    @classmethod
    def load(cls, path: Path) -> Rules:
        """Read a file. Raises RulesError, which names every mistake."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RulesError(str(path), [Mistake(None, "", f"cannot be read: {error}")]) from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "rules") -> Rules:
        """Read TOML; `source` names it in messages. Raises RulesError."""
        try:
            document, lines = read_toml(text)
        except TomlMistake as error:
            raise RulesError(source, [Mistake(error.line, "", str(error))]) from error
        reading = _Reading(lines)
        rules = reading.rules(document)
        if reading.mistakes:
            raise RulesError(source, reading.mistakes)
        return cls(tuple(rules))


class _Reading:
    """One pass over a document that notes every mistake instead of stopping at the first."""

    def __init__(self, lines: Mapping[tuple[str | int, ...], int]) -> None:
        self.mistakes: list[Mistake] = []
        self._lines = lines

    def rules(self, document: dict[str, Any]) -> list[Rule]:
        found = []
        if "defaults" in document:
            found.append(self._rule(document["defaults"], ("defaults",), globs=False))
        listed = document.get("rule", [])
        if not isinstance(listed, list):
            self._wrong(("rule",), "write it as [[rule]], with two brackets")
            listed = []
        found += [self._rule(rule, ("rule", number)) for number, rule in enumerate(listed)]
        self._unknown(document, (), ("defaults", "rule"))
        return found

    def _rule(self, table: Any, at: tuple[str | int, ...], *, globs: bool = True) -> Rule:
        if not isinstance(table, dict):
            self._wrong(at, "is not a table")
            return Rule()
        known = (*_GROUPS, "threshold", "silenced", *(("pipeline", "step") if globs else ()))
        self._unknown(table, at, known)
        changes = {name: self._group(table[name], name, (*at, name)) for name in _GROUPS if name in table}
        listed = table.get("threshold", [])
        if not isinstance(listed, list):
            self._wrong((*at, "threshold"), "write it with two brackets, as a list")
            listed = []
        thresholds = [self._threshold(one, (*at, "threshold", n)) for n, one in enumerate(listed)]
        return Rule(
            self._glob(table, "pipeline", at),
            self._glob(table, "step", at),
            changes,
            tuple(threshold for threshold in thresholds if threshold is not None),
            self._silenced(table, at),
        )

    def _glob(self, table: dict[str, Any], key: str, at: tuple[str | int, ...]) -> str:
        value = table.get(key, "*")
        if isinstance(value, str) and value:
            return value
        self._wrong((*at, key), f'{value!r} is not a name or a glob such as "ocr*"')
        return "*"

    def _silenced(self, table: dict[str, Any], at: tuple[str | int, ...]) -> frozenset[str] | None:
        value = table.get("silenced")
        if value is None:
            return None
        if isinstance(value, bool):
            return frozenset(RULE_NAMES if value else ())
        if isinstance(value, list) and all(name in RULE_NAMES for name in value):
            return frozenset(value)
        self._wrong((*at, "silenced"), f"is not true, false or a list of {', '.join(RULE_NAMES)}")
        return None

    def _group(self, table: Any, name: str, at: tuple[str | int, ...]) -> dict[str, float]:
        if not isinstance(table, dict):
            self._wrong(at, f"is not a table; write for instance {name}.… = …")
            return {}
        known = {f.name: f for f in fields(getattr(Policy(), name))}
        self._unknown(table, at, tuple(known))
        changes = {}
        for key in table.keys() & known.keys():
            value = self._number(
                table[key], (*at, key), known[key].metadata["low"], known[key].metadata["high"]
            )
            if value is not None:
                changes[key] = value
        least, most = changes.get("normal_least", 0.0), changes.get("normal_most", 1.0)
        if least > most:
            self._wrong((*at, "normal_least"), f"{least:g} is more than normal_most, {most:g}")
        return changes

    def _threshold(self, table: Any, at: tuple[str | int, ...]) -> Threshold | None:
        if not isinstance(table, dict):
            self._wrong(at, "is not a table")
            return None
        before = len(self.mistakes)
        self._unknown(table, at, ("measure", "above", "below", "share", "window_s", "at_least", "status"))
        measure = table.get("measure", "duration_ms")
        if not isinstance(measure, str) or not measure:
            self._wrong((*at, "measure"), f'{measure!r} is not the name of a metric, or "duration_ms"')
        if ("above" in table) == ("below" in table):
            self._wrong(at, "needs one of above and below")
            return None
        side = "below" if "below" in table else "above"
        bound = self._number(table[side], (*at, side), -1e300, 1e300)
        share = self._number(table.get("share", 0.1), (*at, "share"), 0, 1)
        window = self._number(table.get("window_s", 300), (*at, "window_s"), 5, 86_400)
        least = self._number(table.get("at_least", 10), (*at, "at_least"), 1, 1e9)
        status = table.get("status", "WARNING")
        if status not in ("WARNING", "CRITICAL"):
            self._wrong((*at, "status"), f'{status!r} is neither "WARNING" nor "CRITICAL"')
        if len(self.mistakes) > before or bound is None or share is None or window is None or least is None:
            return None
        return Threshold(measure, bound, side == "below", share, window, int(least), status == "CRITICAL")

    def _number(self, value: Any, at: tuple[str | int, ...], low: float, high: float) -> float | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong(at, f"{value!r} is not a number")
        elif not low <= value <= high:
            self._wrong(at, f"{value!r} is not between {low:g} and {high:g}")
        else:
            return float(value)
        return None

    def _unknown(self, table: dict[str, Any], at: tuple[str | int, ...], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                self._wrong((*at, key), f"is not known here; known are {', '.join(known)}")

    def _wrong(self, at: tuple[str | int, ...], what: str) -> None:
        line = next((self._lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self._lines), None)
        key = ".".join(f"[{part + 1}]" if isinstance(part, int) else part for part in at).replace(".[", "[")
        self.mistakes.append(Mistake(line, key, what))
