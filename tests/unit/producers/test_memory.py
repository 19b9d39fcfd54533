from __future__ import annotations

from datetime import datetime, timezone

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager, Storage
from steptrail.schemas import ProcessingStatus
from support.contract_fixtures import Observe
from support.storage_contract import StorageContract


class TestInMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> InMemoryStorage:
        return InMemoryStorage()

    @pytest.fixture
    def observe(self, storage: InMemoryStorage) -> Observe:
        return storage.observe


def test_is_a_storage() -> None:
    """The twin can stand wherever a storage is wanted."""
    assert isinstance(InMemoryStorage("invoices"), Storage)
    assert ProcessingStepManager(InMemoryStorage("invoices")).pipeline == "invoices"


def test_holds_events_as_kafka_would_carry_them() -> None:
    """`events` shows the decoded events, with sequence numbers without a gap."""
    storage = InMemoryStorage("invoices")
    manager = ProcessingStepManager(storage)
    manager.add_step("d", "merge", "RUNNING", {"depends_on": ["a", "b"]})
    manager.add_step("d", "merge", "SUCCESS")
    first, second = storage.events()
    assert first.depends_on == '["a","b"]'
    assert [first.sequence, second.sequence] == [0, 1]
    assert first.pipeline == "invoices"
    assert first.execution_id == second.execution_id


def test_clear_forgets_events() -> None:
    """After `clear` nothing is readable, and new events are."""
    storage = InMemoryStorage()
    manager = ProcessingStepManager(storage)
    manager.add_step("d", "a", "SUCCESS")
    storage.clear()
    assert manager.get_steps("d") == []
    manager.add_step("d", "b", "SUCCESS")
    assert [step.step_name for step in manager.get_steps("d")] == ["b"]


def test_refuses_and_counts_after_close() -> None:
    """What comes after `close` is counted, not raised, and not stored."""
    storage = InMemoryStorage()
    manager = ProcessingStepManager(storage)
    with manager:
        manager.add_step("d", "a", ProcessingStatus.SUCCESS)
    manager.add_step("d", "b", ProcessingStatus.SUCCESS)
    manager.close()
    assert storage.refused == 1
    assert [step.step_name for step in manager.get_steps("d")] == ["a"]


def test_a_time_that_the_store_cannot_hold_is_clamped() -> None:
    """A time outside of what ClickHouse holds becomes the nearest that it does; nothing is refused."""
    storage = InMemoryStorage()
    manager = ProcessingStepManager(storage)
    manager.add_step("d", "ancient", "SUCCESS", timestamp=datetime(1583, 1, 1, tzinfo=timezone.utc))
    manager.add_step("d", "a century ago", "SUCCESS", timestamp=datetime(1925, 1, 1, tzinfo=timezone.utc))
    ancient, century = manager.get_steps("d")
    assert (ancient.step_name, ancient.timestamp) == ("ancient", datetime(1900, 1, 1, tzinfo=timezone.utc))
    assert ancient.details == {"_steptrail": {"timestamp": {"clamped": 1}}}
    assert century.details == {}
    assert (storage.refused, storage.altered) == (0, 1)
