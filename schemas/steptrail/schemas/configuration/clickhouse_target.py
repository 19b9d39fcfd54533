"""ClickHouse's address, split into the parts that clients need."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class ClickHouseTarget:
    """ClickHouse's HTTP address and credentials; `ca` is a file's path, None for the system's certificate
    authorities.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: str
    secure: bool
    ca: str | None = None
    verify: bool = True


def parse_clickhouse_url(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    ca: str | None = None,
    verify: bool = True,
) -> ClickHouseTarget:
    """Split a URL such as `http://user:password@host:8123/database`.

    `username` and `password` override the URL's; the default port is 8123, with https 8443; the default database is
    `steptrail`. Raises ValueError, which does not quote the URL, since it may contain a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(
            "the ClickHouse URL cannot be read: is its port a number up to 65535, and are special characters of"
            " the password percent-encoded, such as %3F for a question mark?"
        ) from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            "the ClickHouse URL starts with http:// or https://, such as http://127.0.0.1:8123/steptrail"
        )
    if not parts.hostname:
        raise ValueError("the ClickHouse URL names no host")
    if parts.query or parts.fragment:
        raise ValueError(
            "the ClickHouse URL takes no ? and no #; is there one in a password? Write it as %3F or %23"
        )
    database = unquote(parts.path.strip("/"))
    if "/" in database:
        raise ValueError("the ClickHouse URL's path is one name, the database's")
    secure = parts.scheme == "https"
    return ClickHouseTarget(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        username=username if username is not None else unquote(parts.username or "default"),
        password=password if password is not None else unquote(parts.password or ""),
        database=database or "steptrail",
        secure=secure,
        ca=ca,
        verify=verify,
    )
