"""One statement on one handle, in a worker thread: settings, uploaded tables, rows or data.

Nothing here knows of HTTP or of the event loop; every fault is an EngineError.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from steptrail.deploy.engine import fence, formats, native, reader
from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.handles import (
    QUERY_ID_SETTING,
    QUERY_ID_SQL,
    Engine,
    Handle,
    Stats,
    Stream,
    quote,
)
from steptrail.deploy.engine.request import Request
from steptrail.deploy.engine.sessions import Session
from steptrail.deploy.engine.statement import Kind, Statement, parse, replace_word
from steptrail.deploy.engine.upload import Upload

_FORMAT_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_PIECE = 1 << 20
_ASK_PARSER = 64 * 1024
_NO_EXPRESSIONS = (
    "input_format_values_interpret_expressions = 0, input_format_values_deduce_templates_of_expressions = 0"
)
_ARRAY_OF_ROWS = "output_format_json_array_of_rows"


class Execution:
    """Runs `statement` for `request`, on the session's handle or on a fresh one.

    `open` and `rows`, or `insert`; then `close`. Any thread, one at a time.
    """

    def __init__(
        self, engine: Engine, session: Session | None, request: Request, statement: Statement, scratch: Path
    ) -> None:
        self._engine = engine
        self._scratch = scratch
        self._session = session
        self._request = request
        self._statement = statement
        self._handle: Handle | None = None
        self._stream: Stream | None = None
        self._uploaded: list[str] = []
        self._started = time.perf_counter_ns()
        self.stats = Stats()

    @property
    def output_format(self) -> str:
        """The name of the format that rows come in."""
        inserted = self._statement.kind in (Kind.INSERT, Kind.WRITE)
        name = (None if inserted else self._statement.format) or self._request.default_format
        return formats.canonical(name or "TabSeparated")

    @property
    def handle(self) -> Handle:
        """The handle; after `open`."""
        if self._handle is None:
            raise RuntimeError("the execution is not open")
        return self._handle

    def open(self) -> None:
        """Take the handle and make it ready for the statement; refuses several statements at once."""
        request = self._request
        if request.reads_only:
            self._open_reader()
            return
        statement = self._statement
        settings = dict(request.settings)
        if self._session is None:
            self._handle = self._engine.open()
            if request.readonly and settings.get("readonly", "0") in ("0", ""):
                settings["readonly"] = "2"
        else:
            self._handle = self._session.handle
        self._check_single()
        self._check_fence()
        if self._session is None:
            if request.database:
                self._handle.use(request.database)
            upload_first = bool(request.externals)
            readonly = settings.pop("readonly", None) if upload_first else None
            self._handle.set({QUERY_ID_SETTING: request.query_id, **settings})
            self._upload()
            if readonly is not None:
                self._handle.set({"readonly": readonly})
            return
        # A handle that was made read-only stays so: in a session the parser's verdict does the same.
        if settings.pop("readonly", "0") not in ("0", ""):
            self._check_reads_only()
        if statement.kind is Kind.SETTING:
            self._session.lay({}, None)
        else:
            self._session.lay(settings, request.database)
        self._handle.set({QUERY_ID_SETTING: request.query_id})
        self._upload()

    def _open_reader(self) -> None:
        """Take a handle that only reads, and put the statement as it was checked in the place of what was sent."""
        request, statement, unlisted = self._request, self._statement, self._engine.unlisted_functions
        if statement.kind is Kind.EMPTY:
            raise EngineError(62, "Syntax error: Empty query")
        if len(statement.sql) > reader.MAX_STATEMENT:
            raise EngineError(309, f"A statement of more than {reader.MAX_STATEMENT} bytes is refused")
        if request.externals:
            raise EngineError(497, f"{reader.NAME}: Not enough privileges: this user uploads no tables")
        settings = reader.settings_of(self._engine.limits, request.settings)
        database = request.database or ""
        if database.lower() not in ("", self._engine.database, "system", "information_schema"):
            raise EngineError(
                497, f"{reader.NAME}: Not enough privileges: {database} is not this user's to read"
            )
        # What tells of a statement is told by a handle of the server's own.
        with contextlib.closing(self._engine.open()) as own:
            verdict = own.classify(statement.sql)[0]
            if verdict == "UNKNOWN" and statement.kind in (Kind.SELECT, Kind.REPORT):
                own.printed(statement.sql)  # raises where it does not parse, and says where
            reader.check_root(statement, verdict)
            printed = own.printed(statement.sql)
            fence.check(printed, request.parameters, own.printed)
            reader.check_settings_clause(printed)
            self._statement = parse(printed)
            reader.check_root(self._statement, own.classify(printed)[0])
            query = reader.query_in(self._statement, unlisted)
            if query is not None:
                explained = b"EXPLAIN QUERY TREE run_passes = 0 " + query
                tree = own.query(explained, "TSVRaw", request.parameters).bytes()
                reader.check_tree(tree.decode("utf-8", "replace"), unlisted)
        self._handle = self._engine.open_reader() if self._session is None else self._session.handle
        if self._session is not None:
            self._session.lay(settings, request.database)
        else:
            if request.database:
                self._handle.use(request.database)
            self._handle.set(settings)
        self._handle.set({QUERY_ID_SETTING: request.query_id})
        if self._session is None or self._session.fresh:
            self._handle.set({"readonly": "2"})
        if self._session is not None:
            self._session.fresh = False

    def rows(self) -> Iterator[bytes]:
        """Run the statement and give its output piece by piece; a statement without output gives nothing."""
        statement, form = self._statement, self.output_format
        if statement.kind is Kind.EMPTY:
            raise EngineError(62, "Syntax error: Empty query")
        sql = statement.sql
        if statement.kind is Kind.KILL:
            sql = replace_word(sql, b"QUERY_ID", QUERY_ID_SQL.encode())
        arrays = _ARRAY_OF_ROWS in self._request.settings or _ARRAY_OF_ROWS.encode() in sql
        revision = self._request.revision if form == "Native" else 0
        if revision and statement.kind in (Kind.SELECT, Kind.REPORT):
            pieces = self._native(statement, revision)
        elif statement.kind is Kind.SELECT and formats.is_streamed(form) and not arrays:
            pieces = self._streamed(sql, form)
        else:
            pieces = self._buffered(sql, form)
        empty = True
        for piece in pieces:
            empty = False
            yield piece
        self._stop_clock()
        if statement.kind in (Kind.WRITE, Kind.CHANGE):
            self._engine.space.check_written()
        if empty and form == "Native" and statement.kind in (Kind.SELECT, Kind.REPORT):
            yield native.header(self._columns(), self._request.revision)

    def _streamed(self, sql: bytes, form: str) -> Iterator[bytes]:
        self._stream = stream = self.handle.stream(sql, form, self._request.parameters)
        while not stream.ended:
            piece = stream.next(self.stats)
            if piece:
                yield piece

    def _native(self, statement: Statement, revision: int) -> Iterator[bytes]:
        """Native blocks as a client of this revision of the protocol reads them."""
        sql = statement.without_format
        if statement.kind is Kind.SELECT and revision < native.CUSTOM_SERIALIZATION:
            for piece in self._streamed(sql, "Native"):
                # Each chunk is one block.
                if self._stream is None or native.rows_of_block(piece) != self._stream.rows:
                    raise EngineError(1001, "Several blocks at once: ask without client_protocol_version")
                yield native.BLOCK_INFO  # by itself: blocks are large, and put together once, when they are sent
                yield piece
            return
        columns = self._columns()
        selects = statement.kind is Kind.SELECT
        pieces = self._streamed(sql, "Buffers") if selects else [b"".join(self._buffered(sql, "Buffers"))]
        for piece in pieces:
            yield from native.blocks(piece, columns, revision)

    def _buffered(self, sql: bytes, form: str) -> Iterator[bytes]:
        result = self.handle.query(sql, form, self._request.parameters)
        self.stats.add(result)
        data: bytes = result.bytes()
        del result
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE] if len(data) > _PIECE else data

    def insert(self, upload: Upload) -> None:
        """Open, and insert the uploaded rows."""
        self.open()
        statement = self._statement
        settings = statement.insert_settings
        # Rows of Values may be expressions, which the fence has not seen.
        if (statement.format or "").lower() == "values" and upload.holds(fence.holds_expressions):
            settings = (settings.rstrip() + b", " if settings else b"SETTINGS ") + _NO_EXPRESSIONS.encode()
        sql = b"%s\nFROM INFILE %s\n%s\nFORMAT %s" % (
            statement.head,
            quote(upload.path).encode(),
            settings,
            (statement.format or "Values").encode(),
        )
        result = self.handle.query(sql, "Null", self._request.parameters)
        self.stats.add(result)
        self._stop_clock()
        self._engine.space.check_written()

    def close(self, *, failed: bool = False) -> bool:
        """Give up the handle; returns False when the session's handle is not to be used again."""
        handle, self._handle = self._handle, None
        if handle is None:
            return True
        if self._stream is not None:
            self._stream.cancel()
        if self._session is None:
            handle.close()
            return True
        try:
            for name in self._uploaded:
                handle.query(f"DROP TEMPORARY TABLE IF EXISTS `{name}`".encode(), "Null")
        except EngineError:
            return False
        return not failed or self._session.is_clean()

    def _stop_clock(self) -> None:
        self.stats.elapsed_ns = time.perf_counter_ns() - self._started

    def _check_single(self) -> None:
        statement = self._statement
        if statement.kind is Kind.INSERT and statement.data_start is not None:
            return
        # The engine would run them all. Its own parser is asked too, but for long texts: it takes a second a MB.
        several = statement.several
        if not several and len(statement.sql) < _ASK_PARSER:
            several = self.handle.classify(statement.sql)[1] > 1
        if several:
            raise EngineError(62, "Syntax error (Multi-statements are not allowed)")
        if statement.kind is Kind.WRITE and statement.takes_input:
            raise EngineError(
                48, "INSERT … SELECT … FROM input() is left out: insert into a table, then select from it"
            )

    def _check_fence(self) -> None:
        request, statement = self._request, self._statement
        if request.readonly:
            self._check_reads_only()
        sql = statement.sql
        if statement.data_start is not None:
            sql = b"%s %s FORMAT %s" % (
                statement.head,
                statement.insert_settings,
                (statement.format or "").encode(),
            )
        if statement.kind is not Kind.EMPTY:
            apart = statement.data_start is not None
            fence.check(sql, request.parameters, self.handle.printed, without_rows=apart)

    def _check_reads_only(self) -> None:
        fence.check_reads_only(self._statement, self.handle.classify(self._statement.sql)[0])

    def _upload(self) -> None:
        for name, (form, structure, content) in self._request.externals.items():
            if not _FORMAT_NAME.fullmatch(form):
                raise EngineError(73, f"Unknown format {form!r}")
            made = f"CREATE TEMPORARY TABLE `{name}` ({structure}) ENGINE = Memory".encode()
            fence.check(made, {}, self.handle.printed)
            self.handle.query(made, "Null")
            self._uploaded.append(name)
            with contextlib.closing(Upload(self._scratch)) as upload:
                upload.add(content)
                sql = f"INSERT INTO `{name}` FROM INFILE {quote(upload.path)} SETTINGS {_NO_EXPRESSIONS} FORMAT {form}"
                self.handle.query(sql.encode(), "Null")

    def _columns(self) -> list[tuple[str, str]]:
        """The names and types of a result without rows."""
        statement, parameters = self._statement, self._request.parameters
        if statement.kind is Kind.SELECT:
            # DESCRIBE does not run the query.
            described = (
                b"DESCRIBE TABLE (%s\n) SETTINGS print_pretty_type_names = 0" % statement.without_format
            )
            try:
                result = self.handle.query(described, "JSONCompactEachRow", parameters)
                return [(row[0], row[1]) for row in map(orjson.loads, result.bytes().splitlines())]
            except EngineError:
                pass  # what cannot stand in brackets: run once more, for its columns
        result = self.handle.query(
            statement.without_format + b"\nFORMAT JSONCompact", "JSONCompact", parameters
        )
        return [(column["name"], column["type"]) for column in orjson.loads(result.bytes())["meta"]]
