"""What no statement may do, whoever sends it: read or write files, call other machines, run programs.

The engine's own grants (access.py) close the table functions, the engines and the settings that do so. They do not
cover what is checked here: INTO OUTFILE, FROM INFILE, the function file() and its like, and texts that the engine
parses as SQL later, where a name could be put together out of pieces.

The check reads the statement as the engine's own parser prints it (formatQuerySingleLine): comments gone, escapes
in quoted names resolved, a call's bracket right behind its name. That costs a millisecond or so, therefore only
texts that hold one of the names, or could spell one by escapes, are printed at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from steptrail.deploy.engine.access import ENGINES
from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.statement import Kind, Statement, tokens

_NAMES = rb"file|disk|python|executable|eval|ai(?:classify|embed|extract|filter|generate|redact|similarity|translate)"
_DENIED = re.compile(rb"(?:%s)\Z" % _NAMES, re.IGNORECASE)
_CALLED = rb"[\"`\s\x80-\xff]*(?:\(|/\*|--|\#)"
_QUOTES = re.compile(rb"[\"`\x80-\xff]")
_SUSPECT = re.compile(
    rb"%s|outfile|infile|generaterandom|viewexplain|fuzzquery|loop|engine|(?:format|null)%s|identifier"
    % (_NAMES, _CALLED),
    re.IGNORECASE,
)
# Rows of the format Values may be SQL expressions.
_EXPRESSIONS = re.compile(rb"%s|select|format|null[\s\"`]*\(|[\"`\\\x80-\xff]" % _NAMES, re.IGNORECASE)
# Table functions whose first argument is a list of columns, parsed as SQL with its defaults.
_STRUCTURED = (b"null", b"generaterandom")
# The engine asks for no right to some engines that read others' tables (Buffer), files by their names among them.
_ENGINES = frozenset(name.lower().encode() for name in ENGINES)
_IDENTIFIER = re.compile(rb"\{\s*(\w+)\s*:\s*Identifier\s*\}", re.IGNORECASE)
_READS = (Kind.SELECT, Kind.REPORT)

Printer = Callable[[bytes], bytes]


def check_reads_only(statement: Statement, verdict: str) -> None:
    """Raise EngineError 164 unless the statement only reads; `verdict` is the engine's parser's.

    Both must say so: the root keyword is one of SELECT, WITH, SHOW, DESCRIBE, EXISTS, EXPLAIN, CHECK, and the
    parser calls it READ_ONLY.
    """
    if statement.kind is Kind.EMPTY:
        return
    if statement.kind not in _READS or verdict != "READ_ONLY":
        raise EngineError(164, "default: Cannot execute query in readonly mode: GET only reads, use POST.")


def check(sql: bytes, parameters: Mapping[str, str], printer: Printer, *, without_rows: bool = False) -> None:
    """Raise EngineError 497 where `sql` reaches for files, programs or other machines.

    `printer` gives the text as the engine's parser prints it, and raises where it does not parse. `without_rows`
    says that the rows of an INSERT have been cut off, and are looked at apart.
    """
    # With a backslash and a quoted name the name may be spelled by escapes.
    escaped = b"\\" in sql and _QUOTES.search(sql)
    if not escaped and not _SUSPECT.search(sql):
        return
    printed = printer(sql)
    for name in _IDENTIFIER.findall(printed):
        value = parameters.get(name.decode())
        if value is None:
            raise EngineError(36, f"The name {{{name.decode()}:Identifier}} needs param_{name.decode()} here")
        plain = value.encode("utf-8", "surrogateescape").rpartition(b".")[2].strip(b'"` ')
        if b"\\" in plain or _DENIED.match(plain):
            raise _refused(value)
    if not without_rows:
        _check_has_no_rows(printed)
    _check_printed(printed)


def holds_expressions(rows: bytes) -> bool:
    """Tell whether rows of the format Values could hold an expression that `check` would refuse."""
    return _EXPRESSIONS.search(rows) is not None


def _check_has_no_rows(printed: bytes) -> None:
    """Refuse an INSERT that was not seen to have rows and has some: the parser does not print them.

    It prints an INSERT … SELECT with its SELECT, and one with rows ends in FORMAT.
    """
    depth, before = 0, b""
    inserts = selects = False
    for token in tokens(printed):
        text = token.group()
        depth += (text in (b"(", b"[", b"{")) - (text in (b")", b"]", b"}"))
        if token.lastgroup == "word" and not depth:
            inserts |= text == b"INSERT"
            selects |= text == b"SELECT" and before not in (b".", b"INTO", b"TABLE", b"FUNCTION")
        if text.lower() == b"input" and inserts:
            selects = False
            break
        before = text
    if inserts and not selects:
        raise EngineError(497, "Write INSERT INTO table FORMAT name, the name without quotes, then the rows")


def _check_printed(sql: bytes) -> None:
    found = list(tokens(sql))
    calls = [False]  # for each open bracket: whether it, or one around it, is a call's
    for position, token in enumerate(found):
        text = token.group()
        before = found[position - 1].group() if position else b""
        after = found[position + 1] if position + 1 < len(found) else None
        called = after is not None and after.group() == b"(" and after.start() == token.end()
        if text in (b"(", b"[", b"{"):
            follows = position > 0 and found[position - 1].end() == token.start()
            is_call = text == b"(" and follows and found[position - 1].lastgroup in ("word", "quoted")
            calls.append(calls[-1] or is_call)
        elif text in (b")", b"]", b"}"):
            calls.pop() if len(calls) > 1 else None
        elif token.lastgroup == "word" or (token.lastgroup == "quoted" and text[:1] in (b'"', b"`")):
            name = text.strip(b'"`')
            if text in (b"OUTFILE", b"INFILE") and before in (b"INTO", b"FROM"):
                raise EngineError(
                    497, f"{text.decode()} is off in this server: files are the client's to write"
                )
            # A bare name can be handed to arrayMap or APPLY as a function; behind a dot it is a column.
            handed = (calls[-1] or before == b"APPLY") and not before.endswith(b".")
            if _DENIED.match(name) and (called or handed) and not _is_backup(found, position):
                raise _refused(name.decode("utf-8", "replace"))
            if called and name.lower() in (b"viewexplain", b"fuzzquery", b"loop"):
                raise _refused(name.decode())
            if (
                text == b"ENGINE"
                and after is not None
                and after.group() == b"="
                and position + 2 < len(found)
            ):
                chosen = found[position + 2].group().strip(b'"`')
                if chosen.lower() not in _ENGINES:
                    raise EngineError(
                        497, f"The engine {chosen.decode('utf-8', 'replace')} is off in this server"
                    )
            if called:
                _check_texts(name.lower(), [found_token.group() for found_token in found[position + 2 :][:2]])


def _is_backup(found: list[re.Match[bytes]], position: int) -> bool:
    """Whether this is where BACKUP writes to, or RESTORE reads from: the disk for backups, which is confined."""
    ways = {b"BACKUP": b"TO", b"RESTORE": b"FROM"}
    words = [token.group() for token in found[position - 1 : position + 4]]
    return (
        position > 0
        and found[0].lastgroup == "word"
        and words[:4] == [ways.get(found[0].group()), b"Disk", b"(", b"'backups'"]
    )


def _check_texts(name: bytes, arguments: list[bytes]) -> None:
    """Refuse an argument that the engine parses as SQL, unless it is a plain harmless literal."""
    if name not in (*_STRUCTURED, b"format"):
        return
    first, end = (*arguments, b"", b"")[:2]
    plain = first[:1] == b"'" and (end[:1] == b"," or end == b")")
    # The function format('{} …', …) has a pattern there; the table function a format's name.
    harmless = b"{" in first if name == b"format" else not _EXPRESSIONS.search(first)
    if name == b"null" and first == b")":
        return
    if not (plain and harmless) and not (name == b"generaterandom" and first == b")"):
        raise _refused(name.decode())


def _refused(name: str) -> EngineError:
    return EngineError(
        497,
        f"{name}() is off in this server: statements reach no files, programs or other machines. "
        f"A column of that name is written with its table's: t.{name}",
    )
