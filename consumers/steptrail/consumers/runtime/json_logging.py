"""Structured logging: one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import IO, Any

import orjson

# The attributes of every LogRecord; all others come from `extra=` and go into the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as `{"time", "level", "logger", "message", …everything from extra=}`.

    Values that JSON cannot represent appear as their `str`. A line with invisible characters (control, bidi) is escaped
    to ASCII, so that it is safe to show on a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format as one line, without a trailing newline."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            told = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # lone surrogates, integers past 64 bits
            return json.dumps(line, default=str)
        return told if told.isprintable() else json.dumps(json.loads(told))


# These libraries log the errors they raise, with tracebacks; steptrail's own log lines report them.
_TOO_CHATTY = ("clickhouse_connect", "urllib3")


def configure_logging(level: int | str = logging.INFO, stream: IO[str] | None = None) -> None:
    """Log to `stream` (stderr by default) as JSON lines: steptrail's records from `level`, others' from WARNING.

    For programs, not for libraries: it replaces the root logger's handlers. Safe to call twice.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("steptrail").setLevel(level)
    for name in _TOO_CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
