"""uvicorn's HTTP/1.1 protocol with addresses as long as ClickHouse takes them.

httptools parses addresses of up to 64 KiB; clients put statements and parameters there, and ClickHouse takes 1 MiB.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_ADDRESS = 1 << 20
_PARSED = 60_000


class Protocol(HttpToolsProtocol):
    """Keeps a long query part from httptools. One past MAX_ADDRESS comes cut to just over it: refuse it."""

    def on_url(self, url: bytes) -> None:
        """Collect the address, not without end."""
        if len(self.url) <= MAX_ADDRESS:
            self.url += url

    def on_headers_complete(self) -> None:
        """Begin the request; its task starts only after the scope is whole."""
        path, mark, query = self.url.partition(b"?")
        if not mark or len(self.url) < _PARSED:
            super().on_headers_complete()
            return
        self.url = path
        super().on_headers_complete()
        self.scope["query_string"] = query.partition(b"#")[0]
