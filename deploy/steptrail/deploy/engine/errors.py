"""Faults as ClickHouse tells them: a code, a name, a text, and the HTTP status that goes with the code."""

from __future__ import annotations

import re

from steptrail.schemas import SteptrailError

_TEXT = re.compile(r"Code: (?P<code>\d+)\. ?(?:DB::\w*Exception: )?(?P<rest>.*)", re.DOTALL)
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)(?:\s*\(version [^)]*\)*)?\s*$")

# The codes this server raises by itself; every other code comes from the engine.
NAMES = {
    36: "BAD_ARGUMENTS",
    40: "CHECKSUM_DOESNT_MATCH",
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    60: "UNKNOWN_TABLE",
    73: "UNKNOWN_FORMAT",
    76: "CANNOT_OPEN_FILE",
    81: "UNKNOWN_DATABASE",
    89: "CANNOT_DECOMPRESS",
    115: "UNKNOWN_SETTING",
    141: "TOO_LARGE_SIZE_COMPRESSED",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    236: "ABORTED",
    243: "NOT_ENOUGH_SPACE",
    271: "CANNOT_DECOMPRESS",
    309: "QUERY_IS_TOO_LARGE",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    394: "QUERY_WAS_CANCELLED",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    1001: "STD_EXCEPTION",
}
_STATUS = {
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    194: 401,
    **dict.fromkeys((6, 7, 8, 16, 25, 26, 27, 36, 38, 41, 44, 53, 62, 69, 72, 89, 117, 167, 168), 400),
    **dict.fromkeys((223, 224, 321, 376, 427, 441, 675, 676, 15), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    141: 413,
    309: 413,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
    159: 408,
}


def http_status(code: int) -> int:
    """Return the HTTP status that a ClickHouse server answers for an exception's code (500 if no other)."""
    return _STATUS.get(code, 500)


RAISED = (RuntimeError, UnicodeDecodeError)
"""What the binding raises where the engine fails; `from_engine` reads either."""


class EngineError(SteptrailError):
    """A statement or request failed; the message reads `Code: NN. DB::Exception: … (NAME)`.

    `code` is ClickHouse's number; `status` is the HTTP status for it unless one is given.
    """

    def __init__(self, code: int, message: str, *, status: int | None = None) -> None:
        self.code = code
        self.status = http_status(code) if status is None else status
        if not message.startswith("Code: "):
            message = f"Code: {code}. DB::Exception: {message} ({NAMES.get(code, 'UNKNOWN_EXCEPTION')})"
        super().__init__(message)

    @property
    def name(self) -> str:
        """The error's name as ClickHouse spells it, `UNKNOWN_EXCEPTION` if the text has none."""
        found = _NAME.search(str(self))
        return found.group(1) if found else NAMES.get(self.code, "UNKNOWN_EXCEPTION")


def from_engine(error: BaseException | str) -> EngineError:
    """Return the EngineError for what the engine raised or said.

    The engine's own texts carry code and name and are kept; a bare text (the binding's own complaints) becomes
    code 1001, so that a client always finds a code. Bytes that are no UTF-8, as of a value that does not parse, are
    shown as `\\xff`: the binding raises UnicodeDecodeError instead of such a text.
    """
    if isinstance(error, EngineError):
        return error
    if isinstance(error, UnicodeDecodeError):
        error = error.object.decode("utf-8", "backslashreplace")
    text = str(error).strip()
    start = text.find("Code: ")
    found = _TEXT.match(text, start) if start >= 0 else None
    if found is None:
        return EngineError(1001, text or type(error).__name__)
    return EngineError(int(found.group("code")), text[start:])
