"""One HTTP request as the interface reads it: what is addressed to HTTP, what is a setting, what is a parameter."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from steptrail.deploy.engine.errors import EngineError

# Addressed to the HTTP interface, or without meaning for an engine that is reached by this server alone.
_NOT_SETTINGS = frozenset(
    (
        "user", "password", "quota_key", "stacktrace", "role", "close_session", "buffer_size",
        "http_response_buffer_size",
        "send_progress_in_http_headers", "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close", "http_zlib_compression_level", "http_make_head_request",
        "http_wait_end_of_query", "http_write_exception_in_output_format", "quota",
    )
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_EXTERNAL = re.compile(r"(.+)_(structure|types|format)\Z")


@dataclass
class Request:
    """The parameters of one request; `settings` go to the engine, `parameters` fill `{name:Type}`.

    `externals` are uploaded tables: name to (format, structure, bytes). `revision` is that of the native protocol
    which the client reads (0: the plain Native format). `compress_blocks` asks for the answer, `decompress_blocks`
    tells of the body, that it is in ClickHouse's own block compression. `reads_only`: the user is the reader.
    """

    method: str
    query: bytes = b""
    database: str | None = None
    default_format: str | None = None
    query_id: str = ""
    session_id: str | None = None
    session_timeout: float = 60.0
    session_check: bool = False
    wait_end: bool = False
    compress_response: bool = False
    compress_blocks: bool = False
    decompress_blocks: bool = False
    checked_blocks: bool = True
    revision: int = 0
    reads_only: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    externals: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)

    @property
    def readonly(self) -> bool:
        """Whether the method (GET, HEAD) may change nothing."""
        return self.method != "POST"


def parse_query_string(raw: bytes) -> list[tuple[str, str]]:
    """Return the pairs of an address's query part; bytes that are not UTF-8 survive as surrogates."""
    return parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")


def is_on(value: str) -> bool:
    """Read a boolean parameter as ClickHouse does."""
    return value.strip().lower() in ("1", "true", "yes", "on")


def read_request(
    method: str,
    pairs: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    files: Mapping[str, bytes] | None = None,
) -> Request:
    """Sort parameters and headers into a Request.

    Raises EngineError for a setting's name that is none, for a bad session time and a bad protocol version.
    """
    files = files or {}
    request = Request(method)
    request.database = headers.get("x-clickhouse-database")
    request.default_format = headers.get("x-clickhouse-format")
    external: dict[str, dict[str, str]] = {name: {} for name in files}
    for key, value in pairs:
        if key == "query":
            request.query += value.encode("utf-8", "surrogateescape")
        elif key.startswith("param_"):
            request.parameters[key[6:]] = value
        elif key == "database":
            request.database = value or request.database
        elif key == "default_format":
            request.default_format = value or request.default_format
        elif key == "query_id":
            request.query_id = value
        elif key == "session_id":
            request.session_id = value or None
        elif key == "session_timeout":
            request.session_timeout = _seconds(value)
        elif key == "session_check":
            request.session_check = is_on(value)
        elif key in ("wait_end_of_query", "http_wait_end_of_query"):
            request.wait_end = is_on(value)
        elif key == "enable_http_compression":
            request.compress_response = is_on(value)
        elif key == "compress":
            request.compress_blocks = is_on(value)
        elif key == "decompress":
            request.decompress_blocks = is_on(value)
        elif key == "http_native_compression_disable_checksumming_on_decompress":
            request.checked_blocks = not is_on(value)
        elif key == "client_protocol_version":
            request.revision = _revision(value)
        elif key not in _NOT_SETTINGS:
            found = _EXTERNAL.match(key)
            if found is not None and found.group(1) in external:
                external[found.group(1)][found.group(2)] = value
            elif _NAME.match(key):
                request.settings[key] = value
            else:
                raise EngineError(115, f"Unknown setting {key!r}")
    request.query_id = request.query_id or str(uuid.uuid4())
    for name, content in files.items():
        request.externals[name] = _external(name, external[name], content)
    return request


def _external(name: str, given: Mapping[str, str], content: bytes) -> tuple[str, str, bytes]:
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise EngineError(36, f"{name!r} is not a name for an uploaded table")
    structure = given.get("structure")
    if structure is None and "types" in given:
        structure = ", ".join(
            f"_{n} {kind.strip()}" for n, kind in enumerate(_split_types(given["types"]), 1)
        )
    if not structure:
        raise EngineError(
            36, f"The uploaded table {name} needs {name}_structure or {name}_types in the address"
        )
    return given.get("format", "TabSeparated"), structure, content


def _split_types(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return parts


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise EngineError(36, f"session_timeout must be between 0 and 3600 seconds, not {value!r}")
    return seconds


def _revision(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value.strip()):
        raise EngineError(36, f"client_protocol_version must be a number, not {value!r}")
    return int(value)
