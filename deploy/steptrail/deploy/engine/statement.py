"""What a statement is, as far as HTTP must know: its kind, its FORMAT, where inlined INSERT data begins.

The engine parses SQL itself. Here only tokens are looked at, so that text in strings, quoted names and comments
is never taken for a keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_TOKEN = re.compile(
    rb"""
      (?P<skip>\s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<quoted>'(?:[^'\\]|\\.|'')*(?:'|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z) | `(?:[^`\\]|\\.|``)*(?:`|\Z))
    | (?P<heredoc>\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>[()\[\]{};])
    | (?P<other>[^\s'"`$A-Za-z_()\[\]{};/\#-]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = frozenset(b"([{"), frozenset(b")]}")
_INSERT_SOURCES = frozenset((b"SELECT", b"WITH", b"WATCH", b"EXPLAIN", b"FROM", b"INFILE"))


class Kind(Enum):
    """How a statement is to be run."""

    SELECT = "select"  # rows, and they may be streamed
    REPORT = "report"  # rows of SHOW, DESCRIBE, EXPLAIN …: small, buffered
    INSERT = "insert"  # INSERT whose rows follow the statement
    WRITE = "write"  # INSERT … SELECT
    SETTING = "setting"  # SET, USE: changes the session
    KILL = "kill"
    CHANGE = (
        "change"  # other statements that may write rows: CREATE … AS SELECT, ALTER, OPTIMIZE, INTO OUTFILE
    )
    OTHER = "other"
    EMPTY = "empty"


_KINDS = {
    **dict.fromkeys((b"SELECT", b"WITH", b"FROM", b"VALUES"), Kind.SELECT),
    **dict.fromkeys((b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"CHECK"), Kind.REPORT),
    **dict.fromkeys((b"SET", b"USE"), Kind.SETTING),
    **dict.fromkeys(
        (b"CREATE", b"REPLACE", b"ALTER", b"OPTIMIZE", b"UPDATE", b"DELETE", b"RESTORE"), Kind.CHANGE
    ),
    b"INSERT": Kind.INSERT,
    b"KILL": Kind.KILL,
}


@dataclass(frozen=True)
class Statement:
    """One statement of `sql`.

    `format` is the name in its FORMAT clause, and `format_span` the clause's place in bytes. For an INSERT with
    data, `head` is the text before SETTINGS, FORMAT and VALUES, `insert_settings` its SETTINGS clause, and
    `data_start` tells where the rows begin.
    `several` tells that another statement follows a semicolon, `takes_input` that it reads the table function
    input().
    """

    sql: bytes
    kind: Kind
    format: str | None = None
    format_span: tuple[int, int] | None = None
    head: bytes = b""
    insert_settings: bytes = b""
    data_start: int | None = None
    several: bool = False
    takes_input: bool = False

    @property
    def without_format(self) -> bytes:
        """The text without its FORMAT clause and closing semicolon."""
        text = self.sql
        if self.format_span is not None:
            text = text[: self.format_span[0]] + b" " + text[self.format_span[1] :]
        return text.rstrip().rstrip(b";")


def tokens(sql: bytes) -> Iterator[re.Match[bytes]]:
    """Give the tokens of `sql` but blanks and comments."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "skip":
            yield match


def parse(sql: bytes) -> Statement:
    """Return the first statement of `sql`; never raises, since judging the syntax is the engine's."""
    depth = 0
    kind: Kind | None = None
    previous: re.Match[bytes] | None = None
    format_name: str | None = None
    format_span: tuple[int, int] | None = None
    ended = several = takes_input = False
    for token in tokens(sql):
        if ended:
            if token.group() != b";":
                several = True
                break
            continue
        text = token.group()
        if token.lastgroup == "mark":
            if text == b";":
                ended = True
            else:
                if text == b"(" and previous is not None and previous.group().lower() == b"input":
                    takes_input = True
                depth += 1 if text[0] in _OPENING else -1
            previous = token
            continue
        if token.lastgroup == "word":
            word = text.upper()
            if kind is None:
                if word == b"INSERT":
                    return _parse_insert(sql, token.end())
                kind = _KINDS.get(word, Kind.OTHER)
            elif depth == 0:
                if (
                    previous is not None
                    and previous.lastgroup == "word"
                    and previous.group().upper() == b"FORMAT"
                ):
                    format_name, format_span = text.decode(), (previous.start(), token.end())
                elif word == b"INSERT" and kind is Kind.SELECT:
                    kind = Kind.WRITE  # WITH … INSERT INTO … SELECT
                elif word == b"OUTFILE" and kind is Kind.SELECT:
                    kind = Kind.CHANGE
        elif kind is None:
            kind = Kind.OTHER
        previous = token
    if kind is None:
        kind = Kind.EMPTY if previous is None or ended else Kind.SELECT  # "(SELECT …)" opens with a bracket
    return Statement(sql, kind, format_name, format_span, several=several, takes_input=takes_input)


def _parse_insert(sql: bytes, position: int) -> Statement:
    depth = 0
    seen = 0
    previous_is_format: re.Match[bytes] | None = None
    settings_start: int | None = None

    def with_data(form: str, head_end: int, data_start: int) -> Statement:
        split = head_end if settings_start is None else settings_start
        return Statement(
            sql,
            Kind.INSERT,
            form,
            head=sql[:split],
            insert_settings=sql[split:head_end],
            data_start=data_start,
        )

    for token in _TOKEN.finditer(sql, position):
        if token.lastgroup == "skip":
            continue
        seen += 1
        text = token.group()
        if token.lastgroup == "mark":
            previous_is_format = None
            if text == b";":
                break
            depth += 1 if text[0] in _OPENING else -1
            continue
        if token.lastgroup != "word" or depth:
            previous_is_format = None
            continue
        word = text.upper()
        if previous_is_format is not None:
            return with_data(text.decode(), previous_is_format.start(), _data_start(sql, token.end()))
        # The first two words are INTO and the table: a table may be called `format`.
        if seen > 2 and word == b"FORMAT":
            previous_is_format = token
        elif seen > 2 and word == b"VALUES":
            return with_data("Values", token.start(), token.end())
        elif seen > 2 and word == b"SETTINGS":
            settings_start = token.start()
        elif seen > 2 and word in _INSERT_SOURCES:
            rest = parse(sql[token.start() :])
            span = rest.format_span
            at = token.start()
            return Statement(
                sql,
                Kind.WRITE,
                rest.format,
                (span[0] + at, span[1] + at) if span else None,
                several=rest.several,
                takes_input=rest.takes_input,
            )
    return Statement(sql, Kind.INSERT)


def _data_start(sql: bytes, position: int) -> int:
    """Skip the blanks and the one line end between a format's name and the rows, as ClickHouse does."""
    while position < len(sql) and sql[position] in b" \t\f":
        position += 1
    if sql[position : position + 1] == b"\r":
        position += 1
    if sql[position : position + 1] == b"\n":
        position += 1
    return position


def replace_word(sql: bytes, word: bytes, replacement: bytes) -> bytes:
    """Return `sql` with a bare word (in upper case; any case in `sql`) replaced outside strings and comments."""
    out: list[bytes] = []
    position = 0
    for token in _TOKEN.finditer(sql):
        if token.lastgroup == "word" and token.group().upper() == word:
            out += (sql[position : token.start()], replacement)
            position = token.end()
    out.append(sql[position:])
    return b"".join(out)
