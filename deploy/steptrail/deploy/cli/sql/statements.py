"""Typed SQL: where statements end, and which clause of one matters here."""

from __future__ import annotations

from collections.abc import Iterator

from steptrail.deploy.engine.statement import Kind, parse, tokens


def split(text: str) -> list[str]:
    """The statements of `text`, each without its closing semicolon; what holds only comments is left out."""
    sql = text.encode("utf-8", "replace")
    found, begin, used = [], 0, False
    for token in tokens(sql):
        if token.group() == b";":
            if used:
                found.append(sql[begin : token.start()].decode().strip())
            begin, used = token.end(), False
        else:
            used = True
    if used:
        found.append(sql[begin:].decode().strip())
    return found


def is_complete(text: str) -> bool:
    """Whether the last thing in `text`, comments aside, is a semicolon outside of strings and quoted names."""
    last = b""
    for token in tokens(text.encode("utf-8", "replace")):
        last = token.group()
    return last == b";"


def has_rows(statement: str) -> bool:
    """Whether a statement answers with rows, by its first keyword."""
    return parse(statement.encode("utf-8", "replace")).kind in (Kind.SELECT, Kind.REPORT)


def changes_session(statement: str) -> bool:
    """Whether it is a SET or USE, which hold for a session."""
    return parse(statement.encode("utf-8", "replace")).kind is Kind.SETTING


def own_format(statement: str) -> str | None:
    """The name in the FORMAT clause of a statement that answers with rows."""
    return parse(statement.encode("utf-8", "replace")).format if has_rows(statement) else None


def words(text: str) -> Iterator[str]:
    """The words, quoted names and marks of a statement, strings and comments left out."""
    for token in tokens(text.encode("utf-8", "replace")):
        if token.lastgroup in ("word", "quoted", "mark", "other") and token.group()[:1] != b"'":
            yield token.group().decode("utf-8", "replace")
