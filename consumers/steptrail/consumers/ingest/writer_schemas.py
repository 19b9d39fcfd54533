"""Finds the schema that wrote a message: a bundled one, or one published by newer writers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from steptrail.projections.delivery.avro_block import WriterSchema, bundled_writer_schemas, writer_schema
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import DecodeReason, EventDecodeError, InfrastructureError
from steptrail.schemas.wire.bundled import (
    STEP_EVENT_FIELDS,
    fingerprint,
    released_schemas,
    schema_by_fingerprint,
)
from steptrail.schemas.wire.framing import Frame, confluent_prefix, single_object_prefix
from steptrail.schemas.wire.registry import SchemaRegistry, UnknownSchemaId
from steptrail.schemas.wire.resolution import unreadable
from steptrail.schemas.wire.schema_topic import published_schemas

_log = logging.getLogger("steptrail.consumers.schemas")

# Unknown schemas are looked up again after this long: they may have been published meanwhile.
ASK_AGAIN_S = 60.0
AGAIN_AT_ONCE_S = 1.0
_MOST_UNKNOWN = 10_000


Published = Callable[[], Mapping[bytes, dict[str, Any]]]
"""Gives the schemas that were published, by fingerprint; raises InfrastructureError where they cannot be had."""


class WriterSchemas:
    """Writers' schemas by message frame.

    Bundled schemas are known. Others are looked up on demand: registry ids in the registry, one by one; fingerprints
    among the published schemas, all at once and rarely. A schema is accepted if it is a newer version's by the
    compatibility rules (`steptrail.schemas.wire.resolution`); events of any other become dead letters, to redrive after
    an upgrade. `learn` is for one thread; builders in other threads see its results.
    """

    def __init__(
        self,
        registry: SchemaRegistry | None = None,
        published: Published | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._published = published
        self._clock = clock
        self._writers: dict[bytes, WriterSchema] = dict(bundled_writer_schemas())
        self.by_frame: dict[bytes, dict[str, Any]] = {
            single_object_prefix(fingerprint(schema)): schema for schema in released_schemas().values()
        }
        """The schemas that are known now, by the frames that name them."""
        self._unknown: dict[int, tuple[float, str]] = {}  # id -> (retry at, reason)
        self._unreadable: dict[bytes, str] = {}  # fingerprint -> reason
        self._looked_at: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> WriterSchemas:
        """Create with the settings' registry, if any, and the topic of schemas."""
        registry = SchemaRegistry(settings) if settings.schema_registry else None
        return cls(registry, partial(published_schemas, settings))

    @property
    def can_learn(self) -> bool:
        """Whether unknown schemas can be looked up."""
        return self._registry is not None or self._published is not None

    def new_builder(self) -> BatchBuilder:
        """A batch builder that uses all schemas known at the time of use."""
        return BatchBuilder(self._writers)

    def learn(self, frame: Frame, *, resent: bool = False) -> None:
        """Look up the frame's schema; `resent` messages imply that it may be available by now.

        Raises EventDecodeError (UNKNOWN_SCHEMA) when this version cannot read it; RegistryUnavailable when the
        registry is needed and does not answer.
        """
        self._schema_of(frame, AGAIN_AT_ONCE_S if resent else ASK_AGAIN_S)

    def known(self, frame: Frame) -> dict[str, Any] | None:
        """The frame's schema, None if it is not known; makes no requests. Thread-safe."""
        return self.by_frame.get(_prefix(frame))

    def schema_of(self, frame: Frame) -> dict[str, Any]:
        """The frame's schema, looked up if necessary; raises as `learn` does."""
        return self._schema_of(frame, ASK_AGAIN_S)

    def _schema_of(self, frame: Frame, after: float) -> dict[str, Any]:
        if (known := self.known(frame)) is not None:
            return known
        if frame.fingerprint is not None:
            return self._look_for(frame.fingerprint, after)
        assert frame.schema_id is not None
        return self._ask(frame.schema_id)

    def _look_for(self, wanted: bytes, after: float) -> dict[str, Any]:
        now = self._clock()
        if self._published is not None and (self._looked_at is None or now >= self._looked_at + after):
            self._looked_at = now
            try:
                self._take(self._published())
            except InfrastructureError as error:  # the messages wait in the dead-letter topic
                _log.warning("schemas of newer events cannot be looked up: %s", error)
        frame = single_object_prefix(wanted)
        if frame not in self.by_frame:
            why = self._unreadable.get(wanted, "it is neither bundled nor was it published")
            raise _unknown(
                f"the schema with fingerprint {wanted.hex()} is none that this version reads: {why}", 2
            )
        return self.by_frame[frame]

    def _take(self, published: Mapping[bytes, dict[str, Any]]) -> None:
        for found, schema in published.items():
            if single_object_prefix(found) not in self.by_frame:
                if why := unreadable(schema):
                    self._unreadable[found] = why
                else:
                    self._add(single_object_prefix(found), schema)

    def _add(self, frame: bytes, schema: dict[str, Any]) -> dict[str, Any]:
        self.by_frame[frame] = schema
        self._writers[frame] = writer_schema(frame, schema, STEP_EVENT_FIELDS)
        return schema

    def _ask(self, schema_id: int) -> dict[str, Any]:
        if self._registry is None:
            raise _unknown(
                f"the message names schema {schema_id} of a schema registry, and none is configured", 1
            )
        until, reason = self._unknown.get(schema_id, (0.0, ""))
        if self._clock() < until:
            raise _unknown(reason, 1)
        try:
            found = self._registry.schema(schema_id)
        except UnknownSchemaId as error:
            raise self._remember(schema_id, str(error)) from None
        if found is None:
            raise self._remember(schema_id, f"schema {schema_id} of the registry is no Avro record")
        known = schema_by_fingerprint(_fingerprint(found))
        if known is None and (why := unreadable(found)):
            raise self._remember(
                schema_id, f"schema {schema_id} of the registry is none that this version reads: {why}"
            )
        return self._add(confluent_prefix(schema_id), known or dict(found))

    def _remember(self, schema_id: int, why: str) -> EventDecodeError:
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[schema_id] = (self._clock() + ASK_AGAIN_S, why)
        return _unknown(why, 1)


def _prefix(frame: Frame) -> bytes:
    if frame.fingerprint is not None:
        return single_object_prefix(frame.fingerprint)
    return confluent_prefix(frame.schema_id or 0)


def _fingerprint(schema: Mapping[str, Any]) -> bytes:
    try:
        return fingerprint(dict(schema))
    except Exception:  # valid for the registry, but not for the Avro library: not one of steptrail's
        return b""


def _unknown(why: str, position: int) -> EventDecodeError:
    return EventDecodeError(DecodeReason.UNKNOWN_SCHEMA, why, position=position)
