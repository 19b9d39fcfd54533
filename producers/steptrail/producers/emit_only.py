"""A storage for workers that only emit and do not need ClickHouse."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NoReturn

from typing_extensions import Unpack

from steptrail.producers.emitter import StepEmitter
from steptrail.producers.secrets.redaction import Redaction
from steptrail.producers.secrets.redactors import Redactor
from steptrail.producers.storage import NotReadableError
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.configuration.settings_values import SettingsOverrides
from steptrail.schemas.status import ProcessingStatus


def emit_only(
    settings: Settings | None = None,
    *,
    pipeline: str | None = None,
    redact: Redaction | Iterable[Redactor] | None = None,
    spool: str | os.PathLike[str] | None = None,
    **overrides: Unpack[SettingsOverrides],
) -> EmitOnlyStorage:
    """A storage that emits to Kafka and whose reads raise NotReadableError.

    Without `settings` they come from the environment (`STEPTRAIL_…`) or the running local stack; `pipeline` and
    `overrides` (fields of `Settings`) take precedence over both; `redact` removes secrets from events, and `spool` is a
    folder for events that cannot be sent now, as in `StepEmitter`. Raises ConfigurationError for bad settings.
    """
    return EmitOnlyStorage(settings, pipeline=pipeline, redact=redact, spool=spool, **overrides)


class EmitOnlyStorage(StepEmitter):
    """An emitter with the reads of a Storage, each of which raises NotReadableError."""

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_observed: bool = False,
    ) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("get_steps")

    def get_recent_errors(
        self,
        since: datetime,
        *,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("get_recent_errors")

    def wait_projected(self, timeout: float) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("wait_projected")


def _unreadable(method: str) -> NotReadableError:
    return NotReadableError(
        f"{method}() reads, and this storage only emits (emit_only());"
        " use steptrail.projections.open_storage(), which needs steptrail[clickhouse]"
    )
