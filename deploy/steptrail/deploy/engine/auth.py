"""Who may speak: the password's file, the credentials in a request, and the page that sent it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.reader import NAME as READER
from steptrail.schemas import ConfigurationError

USER = "default"
_NO = f"{USER}: Authentication failed: password is incorrect, or there is no user with such name."


def load_password(path: Path) -> str:
    """Return the password in `path`; where the file is absent, write a fresh one that only its owner can read.

    Raises ConfigurationError if the file is empty, cannot be written, or can be read by others.
    """
    if not path.exists():
        _make_password(path)
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"the password file {path} can be read by others: chmod 600 it")
    password = path.read_text().strip()
    if not password:
        raise ConfigurationError(f"the password file {path} is empty: delete it, and a new one is made")
    return password


def _make_password(path: Path) -> None:
    """Write a password under another name first, so that the file is whole whenever it is there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was faster: its password counts
                os.link(draft, path)
        finally:
            draft.unlink()
    except OSError as error:
        raise ConfigurationError(f"the password file {path} cannot be written: {error.strerror}") from error


class Authenticator:
    """Checks the credentials of a request, in constant time for the password.

    `reader_password` is that of the user who only reads; None where there is no such user.
    """

    def __init__(self, password: str, reader_password: str | None = None) -> None:
        self._passwords = {USER: password.encode()}
        if reader_password is not None:
            self._passwords[READER] = reader_password.encode()

    def check(self, headers: Mapping[str, str], parameters: Mapping[str, str]) -> str:
        """Return the user's name; raise EngineError 516 unless the request carries it and the password.

        They are looked for where ClickHouse does: X-ClickHouse-User and -Key, Basic, then `user` and `password`
        in the address. `headers` has lower-case names.
        """
        user, password = _credentials(headers, parameters)
        if password is None:
            # Without any credentials a browser or curl is told to ask for them.
            raise EngineError(516, _NO, status=401)
        user = user or USER
        wanted = self._passwords.get(user, self._passwords[USER])
        right = hmac.compare_digest(password.encode("utf-8", "surrogateescape"), wanted)
        if not right or user not in self._passwords:
            raise EngineError(516, _NO)
        return user


def _credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str | None, str | None]:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key", "")
    authorization = headers.get("authorization", "")
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, ""
        return user, password
    if authorization:
        return None, ""
    if "user" in parameters or "password" in parameters:
        return parameters.get("user"), parameters.get("password", "")
    return None, None


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what a web page may have sent: raise EngineError 497 for any Origin and for a foreign Host.

    A page can make a browser send requests to this machine's loopback, under its own Origin, or under a name of
    its own that it lets point here. Neither is ever right. An image or a form's GET carries no Origin; browsers
    tell in Sec-Fetch-Site where it comes from, and only `none`, an address typed by the user, is let in.
    """
    site = headers.get("sec-fetch-site", "none").strip().lower()
    if site != "none":
        raise EngineError(497, f"Requests from web pages (Sec-Fetch-Site: {site}) are refused", status=403)
    if "origin" in headers:
        raise EngineError(497, "Requests from web pages (with an Origin header) are refused", status=403)
    host = headers.get("host", "")
    if not is_loopback(_host_name(host)):
        raise EngineError(497, f"The Host header {host!r} is not a loopback name of this machine", status=403)


def is_loopback(host: str) -> bool:
    """Tell whether a name or address can only be this machine's loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
