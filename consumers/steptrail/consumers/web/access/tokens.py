"""The file of tokens: their hashes, and what each may do.

    [token.dashboard]
    sha256 = "…"               # of the token; the token itself is nowhere
    role = "read"              # or "operate"
    pipelines = ["invoices"]   # unset: all of them

A token is 32 random bytes, so that a plain hash keeps it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from steptrail.schemas.errors import ConfigurationError

_toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Role = Literal["read", "operate"]
ROLES: tuple[Role, ...] = ("read", "operate")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
PREFIX = "steptrail_"


@dataclass(frozen=True)
class Principal:
    """Who asks: a name that changes are recorded under, what it may do, and of which pipelines (None: all)."""

    name: str
    role: Role
    pipelines: tuple[str, ...] | None = None

    @property
    def may_operate(self) -> bool:
        """Whether it may change something."""
        return self.role == "operate"

    def may_see(self, pipeline: str | None) -> bool:
        """Whether it may be told of this pipeline; None: of all of them."""
        return self.pipelines is None or pipeline in self.pipelines


class TokenFile:
    """Knows the tokens of a file, and reads it again when it changes. Raises ConfigurationError at the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = _stamp(path)
        self._tokens = read_tokens(path)

    def principal_of(self, token: str) -> Principal | None:
        """Whose token it is; None for one that is none. Every hash is compared, so that none is found by its time."""
        self._read_again()
        given = _hash(token)
        found = None
        for known, principal in self._tokens:
            if hmac.compare_digest(known, given):
                found = principal
        return found

    def _read_again(self) -> None:
        with self._lock:
            try:
                stamp = _stamp(self._path)
                if stamp != self._stamp:
                    self._tokens, self._stamp = read_tokens(self._path), stamp
            except ConfigurationError:
                self._tokens = []  # a file that is gone or wrong lets nobody in


def read_tokens(path: Path) -> list[tuple[str, Principal]]:
    """The tokens' hashes, each with its principal. Raises ConfigurationError that says what is wrong where."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o022:
                raise ConfigurationError(f"{path} is not used: others may write to it (chmod 600 {path})")
            data = _toml.load(file)
    except OSError as error:
        raise ConfigurationError(f"the tokens file {path} cannot be read: {error.strerror}") from None
    except (_toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    tokens = data.pop("token", {})
    if data or not isinstance(tokens, dict) or not tokens:
        raise ConfigurationError(f"{path}: a tokens file consists of tables [token.<name>], at least one")
    return [_token(path, name, table) for name, table in tokens.items()]


def _token(path: Path, name: str, table: Any) -> tuple[str, Principal]:
    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{path}, [token.{name}]: {what}")

    if not _NAME.fullmatch(name):
        raise wrong("a name has letters, digits, and . _ -, 64 at most")
    if not isinstance(table, dict) or set(table) - {"sha256", "role", "pipelines"}:
        raise wrong("it has sha256, role and pipelines, and nothing else")
    digest, role, pipelines = table.get("sha256"), table.get("role"), table.get("pipelines")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise wrong("sha256 is the token's hash, 64 hex digits; `steptrail run web --new-token` makes one")
    if role not in ROLES:
        raise wrong('role is "read" or "operate"')
    if pipelines is not None and (
        not isinstance(pipelines, list) or not pipelines or not all(isinstance(p, str) for p in pipelines)
    ):
        raise wrong("pipelines is a list of names; leave it out for all")
    return digest, Principal(name, role, None if pipelines is None else tuple(pipelines))


def new_token(path: Path, name: str, role: Role, pipelines: Sequence[str] = ()) -> str:
    """Make a token, append its hash to the file (made for its owner only), and return it: it is shown once.

    Raises ConfigurationError for a bad name, one that the file has already, and a file that is wrong.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a token: letters, digits, and . _ -, 64 at most")
    known = [principal.name for _, principal in read_tokens(path)] if path.exists() else []
    if name in known:
        raise ConfigurationError(
            f"{path} has a token {name!r} already: remove its table, or take another name"
        )
    token = PREFIX + secrets.token_urlsafe(32)
    lines = [f'[token."{name}"]', f'sha256 = "{_hash(token)}"', f'role = "{role}"']
    if pipelines:
        lines.append("pipelines = [" + ", ".join(_quoted(each) for each in pipelines) + "]")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n\n")
    return token


def _quoted(text: str) -> str:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 or c in '"\\' else c for c in text)
    return f'"{escaped}"'


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"the tokens file {path} cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size, found.st_ino
