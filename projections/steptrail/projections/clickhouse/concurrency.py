"""Statements side by side: the store works on one while another is sent, checked or sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Thread


def together(tasks: Iterable[Callable[[], None]]) -> None:
    """Run every task, each but the first in a thread of its own, and return when all have ended.

    All have ended, too, when it raises: what the first task that failed, in the order given, raised. A caller
    may then be sure that nothing of its own is still on the way.
    """
    given = list(tasks)
    failures: dict[int, BaseException] = {}

    def run(number: int) -> None:
        try:
            given[number]()
        except BaseException as error:  # raised below, in the caller's thread
            failures[number] = error

    # Daemons: a statement that is never answered must not hold up the end of the process.
    threads = [
        Thread(target=run, args=(n,), name="steptrail-statement", daemon=True) for n in range(1, len(given))
    ]
    for thread in threads:
        thread.start()
    if given:
        run(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[min(failures)]
