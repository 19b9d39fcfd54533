"""The real storage keeps what every Storage promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steptrail.projections import open_storage
from steptrail.projections.storage import ProjectedStorage
from support.projecting import projecting
from support.stack import Stack, new_workspace
from support.storage_contract import StorageContract


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
