"""Processor time of the processes behind an address: it says what work costs, also on a machine that is shared."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil


def pid_behind(port: int) -> int:
    """The process of this machine that listens on `port`. Raises LookupError when there is none."""
    for connection in psutil.net_connections("tcp"):
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
            return int(connection.pid)
    raise LookupError(f"nothing that we may see listens on port {port}")


@contextmanager
def measured(ports: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """Seconds of processor time by name that passed within the context: of each port's process, and of `client`,
    which is every child process that was waited for meanwhile."""
    processes = {name: psutil.Process(pid_behind(port)) for name, port in ports.items()}

    def now() -> dict[str, float]:
        spent = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {**spent, "client": children.ru_utime + children.ru_stime}

    before = now()
    told: dict[str, float] = {}
    yield told
    told.update({name: spent - before[name] for name, spent in now().items()})


def port_of(address: str) -> int:
    """The port of `host:port` or of a URL. Raises ValueError where there is none."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    if port is None:
        raise ValueError("the address has no port")
    return port
