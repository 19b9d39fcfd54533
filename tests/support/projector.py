"""A projector beside a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from steptrail.consumers.projector import run_projector
from steptrail.schemas.settings import Settings


@contextmanager
def running_projector(settings: Settings) -> Iterator[None]:
    """Project in a thread while the block runs; what it raised is raised at the end."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            run_projector(settings, stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="projector")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive(), "the projector did not stop"
    if failures:
        raise failures[0]
