"""Grafana's part of a panel, as far as a query is concerned: variables and the ClickHouse datasource's macros.

Macros as the plugin grafana-clickhouse-datasource expands them (pkg/macros/macros.go; $__conditionalAll in its
frontend), variables as Grafana formats them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALL = ("$__all",)
_MACRO = re.compile(r"\$__(\w+)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}")
_CONDITION = "$__conditionalAll("


@dataclass(frozen=True)
class Look:
    """What somebody looks at: from when to when, in intervals of how many seconds, with which values chosen.

    `known` is by variable every value that it has: All stands for these.
    """

    start: int
    end: int
    interval: int
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def expand(self, sql: str) -> str:
        """The SQL that reaches ClickHouse. Raises ValueError for a macro or a format that is not known."""
        return self._macros(self._variables(self._conditions(sql)))

    def _conditions(self, sql: str) -> str:
        while (begin := sql.find(_CONDITION)) >= 0:
            at = begin + len(_CONDITION)
            depth, end = 1, at
            while depth:
                depth += {"(": 1, ")": -1}.get(sql[end], 0)
                end += 1
            condition, _, variable = sql[at : end - 1].rpartition(",")
            name = variable.strip().lstrip("$").strip("{}")
            kept = "1=1" if tuple(self.chosen[name]) == ALL else condition.strip()
            sql = sql[:begin] + kept + sql[end:]
        return sql

    def _variables(self, sql: str) -> str:
        def value(found: re.Match[str]) -> str:
            name, form = found[1], found[2]
            chosen = self.known[name] if tuple(self.chosen[name]) == ALL else self.chosen[name]
            if form == "singlequote":
                return ",".join("'" + each.replace("'", "\\'") + "'" for each in chosen)
            if form == "raw":
                (only,) = chosen
                return only
            raise ValueError(f"a format that is not known: {found[0]}")

        return _VARIABLE.sub(value, sql)

    def _macros(self, sql: str) -> str:
        made = {
            "fromTime": f"toDateTime({self.start})",
            "toTime": f"toDateTime({self.end})",
            "interval_s": str(max(self.interval, 1)),
        }
        while (found := _MACRO.search(sql)) is not None:
            name, end = found[1], found.end()
            if name in made:
                sql = sql[: found.start()] + made[name] + sql[end:]
                continue
            argument, end = _argument(sql, end)
            if name == "timeFilter":
                text = f"{argument} >= toDateTime({self.start}) AND {argument} <= toDateTime({self.end})"
            elif name == "timeInterval":
                text = f"toStartOfInterval(toDateTime({argument}), INTERVAL {max(self.interval, 1)} second)"
            else:
                raise ValueError(f"a macro that is not known: $__{name}")
            sql = sql[: found.start()] + text + sql[end:]
        return sql


def _argument(sql: str, at: int) -> tuple[str, int]:
    """What stands in the brackets that open at `at`, and where it goes on behind them."""
    if sql[at : at + 1] != "(":
        raise ValueError(f"no argument: {sql[at - 20 : at + 20]}")
    depth, end = 1, at + 1
    while depth:
        depth += {"(": 1, ")": -1}.get(sql[end], 0)
        end += 1
    return sql[at + 1 : end - 1], end
