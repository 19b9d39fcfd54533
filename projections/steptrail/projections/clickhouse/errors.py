"""What can go wrong with the store, sorted by what the caller should do about it."""

from __future__ import annotations

from collections.abc import Mapping

from steptrail.schemas.errors import DataError, InfrastructureError, SteptrailError


class StoreUnavailable(InfrastructureError):
    """ClickHouse could not be reached, hung up or did not answer in time: wait, then try again."""


class StoreRefused(InfrastructureError):
    """ClickHouse answered, but will not do it now (disk full, read-only, too many parts, no grant, …).

    Nothing is wrong with the data: wait until an operator or the store itself has mended it. `code` is the
    server's error code, `name` its symbolic name.
    """

    def __init__(self, message: str, *, code: int | None, name: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class QueryError(SteptrailError):
    """ClickHouse understood the request and found it wrong (syntax, unknown table, bad value, …).

    `code` is the server's error code, `name` its symbolic name.
    """

    def __init__(self, message: str, *, code: int | None, name: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class SchemaMismatch(InfrastructureError):
    """The database's tables are behind or ahead of this program: run `steptrail migrate`, or upgrade it."""


class MigrationError(SteptrailError):
    """A migration cannot be applied; nothing after it was. The message names the file."""


class BatchRejected(DataError):
    """A staged batch did not pass validation: at least one record in it is not what it claims to be.

    Nothing was written. `checks` maps the name of each failed check to how many rows failed it; it is empty when the
    engine could not parse the batch at all.
    """

    def __init__(self, message: str, checks: Mapping[str, int]) -> None:
        super().__init__(message)
        self.checks = checks


class ClaimLost(InfrastructureError):
    """Another consumer has claimed the partitions meanwhile; claim again before writing."""


class PartitionMoved(InfrastructureError):
    """Another shard has the partition, or had it before the number of shards changed: hand it over."""


class TopicRecreated(SteptrailError):
    """The topic was deleted and created again: its offsets mean something else now.

    Consuming stops, because the new topic's offsets would be taken for ones already projected.
    """
