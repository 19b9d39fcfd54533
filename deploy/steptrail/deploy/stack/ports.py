"""Loopback ports of a stack: the same again after a restart while they are free, others when they are taken."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from steptrail.deploy.private_files import write_private

HOST = "127.0.0.1"
"""Everything of a local stack listens here and nowhere else."""

PREFERRED: Mapping[str, int] = {
    "kafka": 9092,
    "controller": 9093,
    "clickhouse": 8123,
    "metrics": 9464,
    "health": 9465,
    "alerts": 9466,
    "web": 8321,
}
"""Tried first in a folder's first start: what people expect."""


def choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return a free port for each name: the wanted one where nothing holds it, else one that the system picks.

    The ports are held together while they are chosen, so that no two names get the same one. Nothing keeps
    another process from taking one before it is used; then the part that needs it fails with a message.
    """
    with ExitStack() as held:
        taken = {name: _bind(port) or _bind(0) for name, port in wanted.items()}
        ports = {}
        for name, listener in taken.items():
            if listener is None:
                raise OSError(f"no free port on {HOST} for {name}")
            ports[name] = int(held.enter_context(listener).getsockname()[1])
        return ports


def is_free(port: int) -> bool:
    """Whether nothing listens on the port now."""
    listener = _bind(port)
    if listener is None:
        return False
    listener.close()
    return True


def stable_ports(file: Path, *, preferred: Mapping[str, int] = PREFERRED) -> dict[str, int]:
    """Choose ports, preferring those that ``file`` remembers, and remember them there."""
    try:
        remembered = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        remembered = {}
    wanted = {name: _remembered(remembered, name) or port for name, port in preferred.items()}
    ports = choose_ports(wanted)
    write_private(file, json.dumps(ports) + "\n")
    return ports


def _remembered(remembered: object, name: str) -> int | None:
    port = remembered.get(name) if isinstance(remembered, dict) else None
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket()
    # As servers do: a port whose last connections linger in TIME_WAIT is free, one with a listener is not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError:
        listener.close()
        return None
    return listener
