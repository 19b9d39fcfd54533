"""A small TCP proxy that can refuse, cut, hang and lose replies, for faults between real parts."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from enum import Enum


class Mode(Enum):
    """What the proxy does to connections."""

    PASS = "pass"
    REFUSE = "refuse"
    """Existing connections are cut, new ones are closed at once."""
    HANG = "hang"
    """New and existing connections stay open, and nothing moves."""


class Proxy:
    """Forwards `port` on the loopback to `target`; `mode` can be changed at any time."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._mode = Mode.PASS
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.REFUSE:
            self.cut()

    def cut(self) -> None:
        """Cut every connection that is open now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._mode is Mode.REFUSE:
                near.close()
                continue
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        try:
            self._pump(near, far)
        except OSError:
            pass
        finally:
            with self._lock:
                self._pairs.discard(pair)
            near.close()
            far.close()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select(0.2):
                    while self._mode is Mode.HANG and not self._closed:
                        time.sleep(0.05)
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    chunk = source.recv(1 << 16)
                    if not chunk:
                        return
                    key.data.sendall(chunk)


@contextlib.contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """A proxy to `host`:`port` for the time of a with block."""
    proxy = Proxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()
