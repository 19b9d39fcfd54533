"""The engine in this process and its handles: one directory, any number of handles side by side.

The compiled module is used directly rather than through its wrapper: the wrapper drops the last chunk of a stream
(totals and extremes), does not show the parser's classification, and rewrites error texts.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from steptrail.deploy.engine.access import backquoted, write_config
from steptrail.deploy.engine.errors import RAISED, EngineError, from_engine
from steptrail.deploy.engine.reader import PROFILE, ROLE, Limits, unlisted
from steptrail.deploy.engine.space import Space
from steptrail.schemas import ConfigurationError

# The engine gives each statement an id of its own; this setting, which only names the client, carries the id
# that the client gave, so that a statement can be found and killed by it.
QUERY_ID_SETTING = "chdb_client_name"
QUERY_ID_SQL = f"if(Settings['{QUERY_ID_SETTING}'] = '', query_id, Settings['{QUERY_ID_SETTING}'])"

_QUERY_SIZE = 200_000  # below the engine's default of max_query_size


@dataclass
class Stats:
    """What a statement read and wrote, for the summary header."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def add(self, result: Any) -> None:
        """Add the counts of one result (or one chunk of a stream)."""
        self.read_rows += result.storage_rows_read()
        self.read_bytes += result.storage_bytes_read()
        self.written_rows += result.rows_written()
        self.written_bytes += result.bytes_written()
        self.result_rows += result.rows_read()
        self.result_bytes += result.size()


class Engine:
    """The engine on one directory; it holds the directory's lock until `close`, or until the process dies.

    Raises ConfigurationError when another process has the directory.
    """

    def __init__(
        self,
        path: Path,
        database: str,
        *,
        keep_free: int = 0,
        memory_ratio: float = 0.5,
        limits: Limits | None = None,
        backups: Path | None = None,
    ) -> None:
        # Half a second and 500 MB of library: only in the process that serves.
        _chdb: Any = importlib.import_module("chdb._chdb")
        self._module = _chdb
        # Its handlers for SIGTERM and for crashes stand in the way of our own and of a core's plain end.
        _chdb.reset_signal_handlers()
        self._path = str(path.absolute())
        if any(mark in self._path for mark in "?&%"):
            raise ConfigurationError(
                f"the engine cannot use a directory with '?', '&' or '%' in its name: {self._path}"
            )
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.limits = limits or Limits()
        config = write_config(
            path.absolute(),
            database=database,
            keep_free=keep_free,
            memory_ratio=memory_ratio,
            bounds=self.limits.bounds(),
            backups=None if backups is None else backups.absolute(),
        )
        self.space = Space(path.absolute(), keep_free)
        try:
            self._keeper: Any = _chdb.connect(f"{self._path}?config-file={config}")
            _chdb.reset_signal_handlers()
            self.database = database
            self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {backquoted(database)} ENGINE = Atomic")
            facts = self._keeper.query("SELECT version(), timezone()", "TSV").bytes().decode()
        except RAISED as error:
            fault = from_engine(error)
            if _is_locked(path):
                raise ConfigurationError(
                    f"the directory {self._path} is in use by another process: one engine at a time"
                ) from error
            raise ConfigurationError(f"the engine does not start on {self._path}: {fault}") from error
        self.version, self.timezone = facts.rstrip("\n").split("\t")

    def open(self) -> Handle:
        """Return a fresh handle: no settings, no temporary tables, in the server's database."""
        try:
            handle = Handle(self._module.connect(self._path))
        except RAISED as error:
            raise from_engine(error) from error
        # Not in `default`: the engine looks for files by a table's name there.
        try:
            handle.use(self.database)
        except EngineError as error:
            if error.code != 81:
                raise
            # Somebody dropped it: it is there again, and empty.
            handle.query(
                f"CREATE DATABASE IF NOT EXISTS {backquoted(self.database)} ENGINE = Atomic".encode(), "Null"
            )
            handle.use(self.database)
        return handle

    def open_reader(self) -> Handle:
        """Return a fresh handle that has the reader's role alone, and whose limits cannot be widened."""
        handle = self.open()
        try:
            handle.query(f"SET ROLE {ROLE}".encode(), "Null")
            handle.query(f"SET profile = '{PROFILE}'".encode(), "Null")
        except BaseException:
            handle.close()
            raise
        return handle

    @cached_property
    def unlisted_functions(self) -> frozenset[str]:
        """The functions that the engine has and a reader may not call."""
        found: bytes = self._keeper.query("SELECT name FROM system.functions", "TSVRaw").bytes()
        return unlisted(found.decode().split())

    def kill(self, query_id: str) -> None:
        """Ask the statement with this id to stop; returns at once, and does nothing where there is none."""
        with contextlib.suppress(EngineError), contextlib.closing(self.open()) as handle:
            handle.query(f"KILL QUERY WHERE {QUERY_ID_SQL} = {quote(query_id)} ASYNC".encode(), "Null")

    def close(self) -> None:
        """Let go of the directory; every other handle must be closed."""
        self._keeper.close()


class Handle:
    """One handle of the engine: runs one statement at a time, from any thread. Every fault is an EngineError."""

    def __init__(self, connection: Any) -> None:
        self._connection: Any = connection
        self._closed = False
        # What runs on the handle: to touch it once the handle is closed ends the process.
        self._open: Stream | None = None

    def close(self) -> None:
        """Give the handle back; what still runs on it is cancelled first. Closing twice does no harm."""
        if self._closed:
            return
        self._closed = True
        if self._open is not None:
            self._open.cancel()
        with contextlib.suppress(*RAISED):
            self._connection.close()

    def query(self, sql: bytes, form: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Run a statement to its end; return the engine's result object."""
        try:
            return self._connection.query(sql, form, params=dict(parameters or {}))
        except RAISED as error:
            raise from_engine(error) from error

    def set(self, settings: Mapping[str, str]) -> None:
        """Change settings of this handle; `readonly` goes last, since it forbids the rest."""
        if settings:
            ordered = sorted(settings.items(), key=lambda item: item[0] == "readonly")
            assignments = ", ".join(f"{name} = {quote(value)}" for name, value in ordered)
            self.query(f"SET {assignments}".encode("utf-8", "surrogateescape"), "Null")

    def use(self, database: str) -> None:
        """Make a database the current one."""
        self.query(f"USE {backquoted(database)}".encode("utf-8", "surrogateescape"), "Null")

    def printed(self, sql: bytes) -> bytes:
        """Return a statement as the parser prints it: one line, no comments; EngineError 62 if it does not parse."""
        asked = b"SELECT formatQuerySingleLine({sql:String})"
        if len(sql) > _QUERY_SIZE:
            asked += b" SETTINGS max_query_size = %d" % (2 * len(sql))
        # A parameter's text has the escapes of TSV.
        text = (
            sql.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        )
        given = text.replace(b"\0", b"\\0").decode("utf-8", "surrogateescape")
        printed: bytes = self.query(asked, "RawBLOB", {"sql": given}).bytes()
        return printed

    def classify(self, sql: bytes) -> tuple[str, int]:
        """Return the parser's verdict on a text, `READ_ONLY` … or `UNKNOWN`, and how many statements it holds."""
        try:
            found = self._connection.classify_query(sql)
        except RAISED:
            return "UNKNOWN", 0
        return found["query_class"].name, int(found["statement_count"])

    def stream(self, sql: bytes, form: str, parameters: Mapping[str, str]) -> Stream:
        """Begin a statement whose rows are fetched chunk by chunk."""
        try:
            result = self._connection.send_query(sql, form, params=dict(parameters))
        except RAISED as error:
            raise from_engine(error) from error
        self._open = stream = Stream(self._connection, result)
        return stream


class Stream:
    """The rows of a running statement."""

    def __init__(self, connection: Any, result: Any) -> None:
        self._connection = connection
        self._result = result
        self.ended = False
        self.rows = 0  # of the last chunk

    def next(self, stats: Stats) -> bytes:
        """Return the next chunk; sets `ended` with the last one, which may be empty or hold the totals."""
        try:
            chunk = self._connection.streaming_fetch_result(self._result)
        except RAISED as error:
            self.ended = True
            raise from_engine(error) from error
        stats.add(chunk)
        self.rows = chunk.rows_read()
        self.ended = self.rows == 0
        data: bytes = chunk.bytes()
        return data

    def cancel(self) -> None:
        """Stop the statement, if it still runs."""
        if not self.ended:
            self.ended = True
            with contextlib.suppress(*RAISED):
                self._connection.streaming_cancel_query(self._result)


def _is_locked(path: Path) -> bool:
    """Tell whether a living process holds the engine's lock on a directory."""
    try:
        with (path / "status").open("rb") as status:
            fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def quote(value: str) -> str:
    """Return a text as an SQL string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
