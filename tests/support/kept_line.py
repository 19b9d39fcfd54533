"""The topic of observations without a Kafka: what is published is kept, and projected when it is told to."""

from __future__ import annotations

import random
from collections.abc import Callable

from steptrail.consumers.health.observation_producer import TopicEnd
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.avro_block import writer_schema
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.schemas.observation import OBSERVATION_PREFIX, StepObservation, encode_observation
from steptrail.schemas.wire.bundled import OBSERVATION_SCHEMA

SCHEMAS = {OBSERVATION_PREFIX: writer_schema(OBSERVATION_PREFIX, OBSERVATION_SCHEMA)}
TOPIC, TOPIC_ID = "kept", "kept-id"


class KilledError(BaseException):
    """Stands for kill -9: nothing that would handle an error handles this."""


class KeptLine:
    """Twin of ObservationTopic. `fate` is asked for each observation: kept and told, kept only, lost, or killed."""

    def __init__(self, clickhouse: ClickHouse, clock_ms: Callable[[], int]) -> None:
        self.kept: list[StepObservation] = []
        self._clock_ms = clock_ms
        self._times: list[int] = []
        self._projected = 0
        self._projection = Projection(clickhouse, OBSERVATIONS, topic=TOPIC, topic_id=TOPIC_ID)
        self._projection.open([0])
        self.rng: random.Random | None = None

    def end(self) -> TopicEnd:
        return TopicEnd(TOPIC, TOPIC_ID, {0: len(self.kept) - 1} if self.kept else {})

    def publish(self, observations: list[StepObservation]) -> list[StepObservation]:
        acknowledged = []
        for observation in observations:
            fate = "told" if self.rng is None else self.rng.choice(["told"] * 12 + ["kept", "lost", "killed"])
            if fate == "killed":
                raise KilledError
            if fate != "lost":
                self.kept.append(observation)
                self._times.append(self._clock_ms())
            if fate == "told":
                acknowledged.append(observation)
        return acknowledged

    def close(self) -> None:
        """Nothing to let go of."""

    def project(self) -> None:
        """Bring everything that is kept to the table."""
        if self._projected == len(self.kept):
            return
        builder = BatchBuilder(SCHEMAS)
        for offset in range(self._projected, len(self.kept)):
            builder.add(0, offset, self._times[offset], encode_observation(self.kept[offset]))
        assert self._projection.write(builder.build()) == {0: len(self.kept)}
        self._projected = len(self.kept)
