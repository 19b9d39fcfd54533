"""Two ways of `add_step`, in turns: what the caller pays for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from steptrail.producers import ProcessingStepManager

ROUND = 1000
"""Documents of a round; two steps are recorded of each."""


def take_turns(
    managers: Mapping[str, ProcessingStepManager],
    steps: Callable[[ProcessingStepManager, Sequence[str]], float],
    rounds: int,
) -> dict[str, list[float]]:
    """µs of an `add_step`, for each manager and round. `steps` records a round and gives its seconds.

    Two rounds more warm up. Who is first changes from round to round; what is in the queues is flushed between them,
    outside the time. Closes the managers.
    """
    spent: dict[str, list[float]] = {name: [] for name in managers}
    for index in range(2 + rounds):
        docs = [f"invoices/2025/03/INV-{index * ROUND + n:07d}.pdf" for n in range(ROUND)]
        for name in sorted(managers, reverse=index % 2 == 0):
            took = steps(managers[name], docs)
            managers[name].flush(10)
            if index >= 2:
                spent[name].append(took / ROUND / 2 * 1e6)
    for manager in managers.values():
        manager.close()
    return spent
