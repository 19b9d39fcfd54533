"""What the store says against a statement, shortened for people, with the place where it is wrong."""

from __future__ import annotations

import re
from typing import Any

from steptrail.deploy.terminal.failures import REFUSED, CommandError
from steptrail.deploy.terminal.layout import cells
from steptrail.deploy.terminal.visible import visible

#: The store refuses these, and another query would do: too slow, not for this user, too much memory, cancelled.
OF_THE_QUERY = (159, 164, 241, 394, 497)

_SERVER_PREFIX = re.compile(r"^.*?(?:DB::Exception: )", re.DOTALL)
_SERVER_TAIL = re.compile(
    r"(?:\s*\([A-Z_]{3,}\))?(?:\s*\((?:version |for url |official build).*)?$", re.DOTALL
)
# The client library adds FORMAT Native; a query that is cut short fails there, at words that nobody wrote.
_CUT_SHORT = re.compile(r"failed at position \d+ \((?:Native|end of query)\)[^:]*: (?:Native)?\.?")
_EXPECTED = re.compile(r"Expected one of: (.{160}).+", re.DOTALL)
_PLACE = re.compile(r"failed at position (\d+) \(")
_LONGEST = 1200
_WIDEST = 100

_HINTS = {
    60: "`steptrail sql 'SHOW TABLES'` lists the tables; `steptrail migrate` creates steptrail's.",
    47: "`steptrail sql 'DESCRIBE steps'` lists the columns with what they mean.",
    81: "`steptrail migrate` creates the database.",
    159: "a shorter time range, or --write, which has no bound of time.",
    164: "this user only reads: --write takes the rights of the user that the settings name.",
    241: "fewer rows or groups, or --write, which has the bound of the whole store.",
    396: "a LIMIT, or --write, which has no bound of rows.",
}


def refused(error: Any, statement: str = "") -> CommandError:
    """The server's complaint, without its stack trace, its version and our address around it.

    With `statement`, the line of it that is wrong, and a mark under the place.
    """
    text = (
        _SERVER_TAIL.sub("", _SERVER_PREFIX.sub("", str(error)), count=1)
        .replace("\n FORMAT Native", "")
        .strip()
    )
    place = _PLACE.search(text)
    text = _EXPECTED.sub(r"Expected one of: \1 …", _CUT_SHORT.sub("the query ends too early.", text))
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + " …"
    if place is not None and statement:
        text += "\n" + _marked(statement, int(place[1]) - 1)
    code = f" (code {error.code}{f', {error.name}' if error.name else ''})" if error.code else ""
    return CommandError(
        f"ClickHouse refused the query{code}: {text}",
        exit_code=REFUSED,
        kind="query_refused",
        hint=_HINTS.get(error.code or 0),
    )


def _marked(statement: str, at: int) -> str:
    """The line of `statement` that has its byte number `at`, and below it a mark there."""
    before = statement.encode("utf-8", "replace")[: max(0, at)].decode("utf-8", "replace")
    begin = before.rfind("\n") + 1
    line = statement[begin:].partition("\n")[0]
    left, right = visible(before[begin:]), visible(line[len(before) - begin :])
    if len(left) > _WIDEST // 2:
        left = "…" + left[-_WIDEST // 2 :]
    return f"{left}{right[: _WIDEST // 2]}\n{' ' * cells(left)}^"
