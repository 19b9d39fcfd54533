"""Opens connections with a deadline for everything: DNS, every address, TLS, and the exchange."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from steptrail.consumers.runtime.deadline import Deadline

Address = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` gives it."""

Resolve = Callable[[str, int], Sequence[Address]]


def addresses_of(host: str, port: int) -> Sequence[Address]:
    """Resolve with the system's resolver, which may take arbitrarily long. Raises OSError."""
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


@contextlib.contextmanager
def dialed(
    host: str,
    port: int,
    deadline: Deadline,
    context: ssl.SSLContext | None = None,
    resolve: Resolve = addresses_of,
) -> Iterator[socket.socket]:
    """A socket that is shut down at the deadline, whatever uses it then; closed at the end.

    Uses TLS with a `context`. Raises OSError; TimeoutError after the deadline, also from the `with` body.
    """
    raw = connected(_resolved(host, port, deadline, resolve), deadline)
    cut = threading.Event()

    def cut_off() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)

    # Each read has a timeout, but a server that sends a byte now and then would never reach it.
    timer = threading.Timer(deadline.remaining(), cut_off)
    timer.daemon = True
    timer.start()
    sock = raw
    try:
        raw.settimeout(max(deadline.remaining(), 0.001))
        if context is not None:
            # The wrapped socket takes the descriptor over: keep a duplicate to shut it down.
            raw = raw.dup()
            sock = context.wrap_socket(sock, server_hostname=host)
        yield sock
    except Exception:
        if cut.is_set() or deadline.expired:
            raise TimeoutError("the time is over") from None
        raise
    finally:
        timer.cancel()
        sock.close()
        raw.close()


def _resolved(host: str, port: int, deadline: Deadline, resolve: Resolve) -> Sequence[Address]:
    """The addresses; a lookup cannot be cancelled, so it runs in a thread that may be abandoned."""
    found: list[Sequence[Address]] = []
    failed: list[Exception] = []

    def look_up() -> None:
        try:
            found.append(resolve(host, port))
        except Exception as error:  # raised by the waiting thread
            failed.append(error)

    thread = threading.Thread(target=look_up, name="steptrail-lookup", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no address for {host}")
    return found[0]


def connected(
    addresses: Sequence[Address],
    deadline: Deadline,
    connect: Callable[[Address, float], socket.socket] | None = None,
) -> socket.socket:
    """Connect to the first address that accepts; none may use up the time of those after it."""
    connect = connect or _connect
    failure: OSError = OSError("the name has no address")
    for number, address in enumerate(addresses):
        if deadline.expired:
            raise TimeoutError("the time is over")
        try:
            return connect(address, deadline.remaining() / (len(addresses) - number))
        except OSError as error:
            failure = error
    raise failure


def _connect(address: Address, timeout: float) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(max(timeout, 0.001))
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock
