"""Statements side by side: the store works on one while another is sent, checked or sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def together(tasks: Iterable[Callable[[], None]]) -> None:
    """Run every task in a thread of its own and return when all have ended.

    All have ended, too, when it raises: what the first task that failed, in the order given, raised. A caller
    may then be sure that nothing of its own is still on the way.
    """
    given = list(tasks)
    if len(given) == 1:
        given[0]()
        return
    with ThreadPoolExecutor(len(given), thread_name_prefix="steptrail-statement") as pool:
        futures = [pool.submit(task) for task in given]
    for future in futures:
        future.result()
