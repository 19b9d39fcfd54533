"""Two ways of `add_step`, in turns: what the caller pays for each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.figure import Figure
from steptrail.producers import ProcessingStepManager

ROUND = 1000
"""Documents of a round; two steps are recorded of each."""


@dataclass(frozen=True)
class Turn:
    """One round of one manager: µs of an `add_step`, by the calling thread's processor time and by the clock."""

    processor_us: float
    clock_us: float


def take_turns(
    managers: Mapping[str, ProcessingStepManager],
    steps: Callable[[ProcessingStepManager, Sequence[str]], None],
    rounds: int,
) -> dict[str, list[Turn]]:
    """What an `add_step` takes, for each manager and round. `steps` records a round, two steps of each document.

    Two rounds more warm up. Who is first changes from round to round; what is in the queues is flushed between them,
    outside the time. Closes the managers.
    """
    spent: dict[str, list[Turn]] = {name: [] for name in managers}
    for index in range(2 + rounds):
        docs = [f"invoices/2025/03/INV-{index * ROUND + n:07d}.pdf" for n in range(ROUND)]
        for name in sorted(managers, reverse=index % 2 == 0):
            processor, clock = time.thread_time(), time.perf_counter()
            steps(managers[name], docs)
            turn = Turn(
                *(
                    each / ROUND / 2 * 1e6
                    for each in (time.thread_time() - processor, time.perf_counter() - clock)
                )
            )
            managers[name].flush(10)
            if index >= 2:
                spent[name].append(turn)
    for manager in managers.values():
        manager.close()
    return spent


def compared(
    figure: str, bound: float, dearer: Sequence[Turn], plain: Sequence[Turn], **more: float
) -> Figure:
    """Median of the rounds' ratios by processor time; that by the clock, where the scheduler has its say, beside it."""
    rounds = list(zip(dearer, plain, strict=True))
    ratio = statistics.median(one.processor_us / other.processor_us for one, other in rounds)
    return Figure(
        figure,
        ratio,
        "ratio",
        f"<= {bound}",
        ratio <= bound,
        {
            "by_the_clock": statistics.median(one.clock_us / other.clock_us for one, other in rounds),
            "add_step_us": statistics.median(turn.processor_us for turn in plain),
            "add_step_dearer_us": statistics.median(turn.processor_us for turn in dearer),
            "rounds": len(rounds),
            **more,
        },
    )
