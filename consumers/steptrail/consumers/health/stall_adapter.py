"""The watch over stalled executions, as the judge calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from steptrail.consumers.health.progress import Progress
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy
from steptrail.consumers.health.rules.overdue import Observation
from steptrail.consumers.health.rules.slots import StepKey
from steptrail.consumers.health.rules_file import RulesFile
from steptrail.consumers.health.stall_detector import GRACE_S, Applied, StallWatch
from steptrail.schemas.errors import InfrastructureError


class JudgedStalls:
    """`steptrail.consumers.health.judging_loop.Stalls` by a StallWatch."""

    def __init__(
        self, watch: StallWatch, progress: Progress, rules: RulesFile, topic_id: Callable[[], str | None]
    ) -> None:
        self._watch = watch
        self._progress = progress
        self._rules = rules
        self._topic_id = topic_id

    def begin(self) -> list[Observation] | None:
        """Those that stand now; None while that is not known."""
        try:
            return self._watch.standing()
        except InfrastructureError:
            return None

    def look(
        self,
        watermark: float,
        deadlines: Mapping[StepKey, float],
        queue_deadlines: Mapping[StepKey, float],
    ) -> list[Observation]:
        """What is to be said at `watermark`, once it is said."""
        topic_id = self._topic_id()
        if topic_id is None:
            return []
        graces = {
            key: float(self._rules.rules.policy(*key).of(StalledPolicy).grace_s)
            for key in deadlines.keys() | queue_deadlines.keys()
        }
        # What is written is at least what was applied at the watermark: asking for more is only slower.
        offsets = {partition: offset - 1 for partition, offset in self._progress.written().items() if offset}
        return self._watch.look(
            watermark,
            deadlines,
            Applied(topic_id, offsets),
            {key: grace for key, grace in graces.items() if grace != GRACE_S},
            queue_deadlines,
        )

    def close(self) -> None:
        """Let go of the connection to Kafka."""
        self._watch.close()
