"""What the store checks of staged events, made from the limits that the strict decoder keeps to.

Each check is SQL that is true for a row that must not pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from steptrail.schemas.limits import LIMITS, MAX_EVENT_BYTES, Between, Finite, Limit
from steptrail.schemas.values.json_text import MAX_JSON_DEPTH, MAX_JSON_DIGITS


def checks_of(schema: Mapping[str, Any], limits: Mapping[str, Limit] = LIMITS) -> dict[str, str]:
    """The checks of a record's fields: of each that has a limit, by its name; `utf8` is of all texts."""
    checks = {name: _check(name, limits[name]) for name in _types(schema) if name in limits}
    texts = (
        f"isValidUTF8(ifNull({name}, ''))" if isinstance(kind, list) else f"isValidUTF8({name})"
        for name, kind in _types(schema).items()
        if kind in ("string", ["null", "string"])
    )
    return {**checks, "utf8": f"NOT ({' AND '.join(texts)})"}


def message_size(schema: Mapping[str, Any], columns: Collection[str]) -> str:
    """SQL: how long a record of `schema` is, its frame not counted, with each number spelled as short as it can be.

    Counts the fields in `columns`. Right for rows that pass all checks. Texts and numbers go through an array each:
    planning one expression for each of them took longer than computing it.
    """
    fixed = 0
    parts, lengths, numbers = [], [], []
    for name, kind in _types(schema).items():
        if name not in columns:
            continue
        if isinstance(kind, list):
            fixed, kind = fixed + 1, kind[1]  # the branch of the union
        if isinstance(kind, dict) and kind["type"] == "fixed":
            fixed += kind["size"]
            continue
        limit = LIMITS.get(name)
        simple = kind["type"] if isinstance(kind, dict) else kind
        if simple == "string":
            lengths.append(f"ifNull(toInt32(length({name})), -1)")
        elif simple == "double":
            parts.append(f"if({name} IS NULL, 0, 8)")
        elif isinstance(limit, Between) and limit.least >= 0:
            numbers.append(f"ifNull({name}, -1)")
        else:
            numbers.append(f"ifNull(if({name} < 0, -1 - {name}, {name}), -1)")
    if lengths:
        parts.append(
            f"arraySum(n -> greatest(n, 0) + {_number_size(MAX_EVENT_BYTES)}, [{', '.join(lengths)}])"
        )
    if numbers:
        parts.append(f"arraySum(n -> {_number_size(2**63)}, [{', '.join(numbers)}])")
    return " + ".join([str(fixed), *parts])


def json_check(column: str, opening: str) -> str:
    """The check that a column holds the text of a JSON object or array, as `steptrail.schemas.values.json_text` has it.

    The engine's own parser judges all but two limits of ours; what could exceed those is looked at by regular
    expressions, which take no memory.
    """
    longer = f"length({column}) > {MAX_JSON_DIGITS}"
    brackets = f"countSubstrings({column}, '{{') + countSubstrings({column}, '[')"
    deep = f"({brackets}) > {MAX_JSON_DEPTH} AND NOT match({_without_strings(column)}, '{_NOT_TOO_DEEP}')"
    digits = f"[0-9]{{{MAX_JSON_DIGITS + 1}}}"
    long = f"match({column}, '{digits}') AND match({_without_strings(column)}, '{digits}')"
    return f"NOT startsWith({column}, '{opening}') OR NOT isValidJSON({column}) OR ({longer} AND ({deep} OR {long}))"


def _check(name: str, limit: Limit) -> str:
    if isinstance(limit, Between):
        return f"{name} < {limit.least} OR {name} > {limit.greatest}"
    if isinstance(limit, Finite):
        return f"NOT isFinite(ifNull({name}, 0))"
    return json_check(name, limit.opening)


def _without_strings(column: str) -> str:
    return f"replaceRegexpAll({column}, '{_STRING}', '\"\"')"


# In SQL's quotes, hence each backslash twice.
_STRING: Final = r'"(?:[^"\\\\]|\\\\.)*"'


def _not_too_deep() -> str:
    inside = "[^][{}]*"
    for _ in range(MAX_JSON_DEPTH - 1):
        inside = f"(?:[^][{{}}]|[[{{]{inside}[]}}])*"
    return f"^[[{{]{inside}[]}}][^][{{}}]*$"


_NOT_TOO_DEEP: Final = _not_too_deep()


def _types(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: field["type"] for field in schema["fields"]}


def _number_size(greatest: int) -> str:
    """SQL: how many bytes n has, 0 to `greatest`; 0 for -1. Zigzag leaves 6 bits for the first byte, 7 for others."""
    steps = [f"(n >= {1 << bits})" for bits in range(6, 63, 7) if 1 << bits <= greatest]
    return " + ".join(["(n >= 0)", *steps])
