"""A proxy before the store that knows HTTP, so that it can tell statements apart and lose replies.

For every request a rule says what becomes of it; the rule is given the statement's text and may count.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, urlsplit

from steptrail.schemas.configuration.settings import Settings


class Fate(Enum):
    """What becomes of a request."""

    PASS = "passed on"
    REFUSE = "the connection is closed, nothing is passed on"
    UNAVAILABLE = "answered with 503, nothing is passed on"
    HANG = "nothing is passed on, and nothing comes back until the proxy is released"
    CUT_BODY = "half of it is passed on, then both connections are cut"
    LOSE_REPLY = "passed on and carried out, then the connection is cut instead of the reply"
    HANG_REPLY = "passed on and carried out, and the reply comes when the proxy is released"
    TWICE = "passed on twice at the same time, as a middlebox does that believes in retries"


_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 21\r\n"
    b"Connection: keep-alive\r\n\r\n<h1>Unavailable</h1>\r\n"
)


@dataclass(frozen=True)
class Request:
    """A request as it came, the statement in it, and what is bound to the statement's parameters."""

    raw: bytes
    sql: str
    parameters: Mapping[str, str]


Rule = Callable[[Request], Fate]


class Proxy:
    """Listens on `port` of the loopback and passes requests on to `host`:`port`. `done` counts fates by name."""

    def __init__(self, host: str, port: int) -> None:
        self.rule: Rule = lambda _: Fate.PASS
        self.done: dict[str, int] = {}
        self._target = (host, port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._released.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    def meet(self, fate: Fate) -> None:
        """From now on every request meets this fate; what hung until now is let go."""
        self._released.set()
        if fate in (Fate.HANG, Fate.HANG_REPLY):
            self._released.clear()
        self.rule = lambda _: fate

    def cut(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            open_now = list(self._open)
        for end in open_now:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def count(self, fate: Fate) -> int:
        """How many requests met it."""
        return self.done.get(fate.name, 0)

    def close(self) -> None:
        """Take no more connections, and cut those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        self._released.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far: socket.socket | None = None
        with self._lock:
            self._open.add(near)
        with near, contextlib.suppress(OSError, ValueError), near.makefile("rb") as incoming:
            try:
                while (request := _read_request(incoming)) is not None:
                    with self._lock:
                        fate = self.rule(request)
                        self.done[fate.name] = self.done.get(fate.name, 0) + 1
                    if fate is Fate.REFUSE:
                        return
                    if fate is Fate.UNAVAILABLE:
                        near.sendall(_UNAVAILABLE)
                        continue
                    if fate is Fate.HANG:
                        self._released.wait()
                        return
                    far = self._alive(far)
                    if fate is Fate.CUT_BODY:
                        far.sendall(request.raw[: len(request.raw) - max(1, len(request.raw) // 4)])
                        return
                    if fate is Fate.TWICE:
                        threading.Thread(target=self._again, args=(request,), daemon=True).start()
                    far.sendall(request.raw)
                    reply = _read_reply(far)
                    if fate is Fate.LOSE_REPLY:
                        return
                    if fate is Fate.HANG_REPLY:
                        self._released.wait()
                    near.sendall(reply)
            finally:
                with self._lock:
                    self._open.discard(near)
                    if far is not None:
                        self._open.discard(far)
                        far.close()

    def _alive(self, far: socket.socket | None) -> socket.socket:
        """The connection to the store, or a new one where the store has hung up: it has nothing to say by itself."""
        if far is not None and not select.select([far], [], [], 0)[0]:
            return far
        new = self._connect()
        with self._lock:
            self._open.add(new)
            if far is not None:
                self._open.discard(far)
                far.close()
        return new

    def _again(self, request: Request) -> None:
        with contextlib.suppress(OSError, ValueError), self._connect() as far:
            far.sendall(request.raw)
            _read_reply(far)

    def _connect(self) -> socket.socket:
        far = socket.create_connection(self._target, timeout=10)
        far.settimeout(None)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return far


def _read_request(stream: object) -> Request | None:
    head, body = _read_message(stream)
    if not head:
        return None
    target = head.split(b" ", 2)[1].decode()
    given = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
    text = given.get("query") or _unchunked(head, body)[:2000].decode(errors="replace")
    parameters = {name[6:]: value for name, value in given.items() if name.startswith("param_")}
    return Request(head + body, text, parameters)


def _read_reply(far: socket.socket) -> bytes:
    with far.makefile("rb") as stream:
        head, body = _read_message(stream)
    if not head:
        raise OSError("the store hung up")
    return head + body


def _read_message(stream: object) -> tuple[bytes, bytes]:
    """Head and body of one message as they came."""
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    head = b""
    while (line := readline()) not in (b"\r\n", b""):
        head += line
    if not head:
        return b"", b""
    head += b"\r\n"
    names = {
        name.strip().lower(): value.strip()
        for name, _, value in (each.partition(b":") for each in head.split(b"\r\n")[1:])
    }
    if b"content-length" in names:
        return head, read(int(names[b"content-length"]))
    body = b""
    if names.get(b"transfer-encoding", b"").lower() == b"chunked":
        while True:
            size = readline()
            length = int(size.split(b";")[0], 16)
            body += size + read(length + 2)
            if not length:
                break
    return head, body


def _unchunked(head: bytes, body: bytes) -> bytes:
    if b"chunked" not in head.lower():
        return body
    size, _, rest = body.partition(b"\r\n")
    return rest[: int(size.split(b";")[0], 16)] if size else b""


@contextlib.contextmanager
def proxy_to(port: int, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy for the time of a with block."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()


def for_a_while(proxy: Proxy, fate: Fate, seconds: float) -> None:
    """Every request meets this fate, for so long; then all pass again."""
    proxy.meet(fate)
    time.sleep(seconds)
    proxy.meet(Fate.PASS)


@contextlib.contextmanager
def store_behind_proxy(settings: Settings) -> Iterator[tuple[Settings, Proxy]]:
    """The same settings, with ClickHouse reached through a proxy."""
    url = urlsplit(settings.clickhouse.get_secret_value())
    assert url.port
    with proxy_to(url.port, url.hostname or "") as proxy:
        through = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}")
        yield settings.with_values(clickhouse=through.geturl()), proxy
