"""The real storage keeps what every Storage promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steptrail.consumers.health.observation_producer import ObservationTopic
from steptrail.projections import open_storage
from steptrail.projections.storage import ProjectedStorage
from steptrail.schemas.observation import StepObservation
from support.contract_fixtures import Observe
from support.projecting import projecting
from support.stack import Stack, new_workspace
from support.storage_contract import StorageContract
from support.waiting import until


@pytest.fixture(scope="module")
def opened(stack: Stack) -> Iterator[ProjectedStorage]:
    # Small batches soon: each test waits for its own events.
    with (
        new_workspace(stack, batch_max_age_s=0.05) as settings,
        projecting(settings),
        open_storage(settings) as storage,
    ):
        yield storage


class TestProjectedStorage(StorageContract):
    """By way of Kafka, the projector and ClickHouse."""

    @pytest.fixture
    def storage(self, opened: ProjectedStorage) -> ProjectedStorage:
        return opened

    @pytest.fixture
    def observe(self, opened: ProjectedStorage) -> Iterator[Observe]:
        topic = ObservationTopic(opened.emitter.settings)

        def said(observation: StepObservation) -> None:
            assert topic.publish([observation]) == [observation]
            end = topic.end()

            def there() -> bool:
                reached = opened.reader.projected_offsets(end.topic, end.topic_id, "observations")
                return all(reached.get(partition, -1) >= last for partition, last in end.last.items())

            until(there, "projection of the observation")

        yield said
        topic.close()
