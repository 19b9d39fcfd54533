"""Who is let in: by a token, by the name that a trusted proxy gives, or, on loopback alone, without anything."""

from __future__ import annotations

import base64
import binascii
import getpass
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from steptrail.consumers.web.access.tokens import Principal, Role, TokenFile
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True)
class Refusal:
    """Why a request is not let in: 401 asks for a token, 421 is a name that is not ours."""

    status: Literal[401, 421]
    detail: str


class Access:
    """Decides who a request is from. Raises ConfigurationError for settings that would let anybody in."""

    def __init__(self, settings: Settings) -> None:
        self._loopback = is_loopback(settings.web_host)
        self._names = frozenset(
            name.strip().lower() for name in (settings.web_names or "").split(",") if name.strip()
        )
        self._tokens = (
            None if settings.web_tokens is None else TokenFile(Path(settings.web_tokens).expanduser())
        )
        header = settings.web_proxy_header
        self._header = None if header is None else header.lower()
        self._role: Role = settings.web_proxy_role
        self._proxies = _networks(settings.web_proxy_addresses)
        self.open = self._loopback and self._tokens is None and self._header is None
        """On loopback, whoever has a login on this machine is let in."""
        if not self._loopback and self._tokens is None and self._header is None:
            raise ConfigurationError(
                f"STEPTRAIL_WEB_HOST is {settings.web_host}, where others can reach the API, and nothing says who may"
                " use it: set STEPTRAIL_WEB_TOKENS (`steptrail run web --new-token NAME` makes a token), or"
                " STEPTRAIL_WEB_PROXY_HEADER behind a proxy that authenticates. There is no default password."
            )

    def identify(self, headers: Mapping[str, str], peer: str | None) -> Principal | Refusal:
        """Who asks, by headers with names in lower case and the address that the request came from."""
        host = host_name(headers.get("host", ""))
        if self._loopback and not self._header and host not in _LOOPBACK_NAMES and host not in self._names:
            return Refusal(
                421,
                f"the host {host[:100]!r} is not one of this server: use localhost or 127.0.0.1, or name it in"
                " STEPTRAIL_WEB_NAMES",
            )
        if not self._loopback and self._names and host not in self._names:
            return Refusal(421, f"the host {host[:100]!r} is not one of STEPTRAIL_WEB_NAMES")
        if self._header is not None and self._is_proxy(peer):
            name = headers.get(self._header, "").strip()
            if name:
                return Principal(name[:200], self._role)
        if self._tokens is not None:
            token = given_token(headers.get("authorization", ""))
            principal = None if token is None else self._tokens.principal_of(token)
            if principal is not None:
                return principal
            told = "the token is not known" if token else "a token is needed"
            return Refusal(401, f"{told}: send `Authorization: Bearer <token>`, or it as a password")
        if self._header is not None:
            return Refusal(401, f"the trusted proxy did not say in {self._header} who asks")
        if through := [name for name in _OF_PROXIES if name in headers]:
            return Refusal(
                421,
                f"the request came through a proxy ({through[0]}), which makes everybody a local user: set"
                " STEPTRAIL_WEB_TOKENS or STEPTRAIL_WEB_PROXY_HEADER",
            )
        return Principal(_local_user(), "operate")

    def same_site(self, headers: Mapping[str, str]) -> bool:
        """Whether a change was asked for by a page of ours, or by no page at all."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        scheme, separator, authority = origin.partition("://")
        if not separator or scheme not in ("http", "https"):
            return False
        return authority.lower() == headers.get("host", "").lower() or host_name(authority) in self._names

    def _is_proxy(self, peer: str | None) -> bool:
        try:
            address = ipaddress.ip_address((peer or "").partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._proxies if network.version == address.version)


def given_token(authorization: str) -> str | None:
    """The token of a Bearer header, or the password of a Basic one, which is what browsers ask for."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip() or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return None


def host_name(authority: str) -> str:
    """The host of `host:port`, in lower case; an IPv6 address keeps its brackets."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether nobody else's machine reaches this address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(
            ipaddress.ip_network(each.strip(), strict=False) for each in text.split(",") if each.strip()
        )
    except ValueError as error:
        raise ConfigurationError(f"STEPTRAIL_WEB_PROXY_ADDRESSES: {error}") from None


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "local"
