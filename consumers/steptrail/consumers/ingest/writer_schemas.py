"""Which schema wrote a message: by the schemas that come with the package, and by a registry where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from steptrail.projections.delivery.avro_block import WriterSchema, bundled_writer_schemas, writer_schema
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.schemas.bundled import (
    STEP_EVENT_FIELDS,
    fingerprint,
    released_schemas,
    schema_by_fingerprint,
)
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.framing import Frame, confluent_prefix, single_object_prefix
from steptrail.schemas.registry import SchemaRegistry, UnknownSchemaId
from steptrail.schemas.resolution import unreadable

# An id that the registry does not know is asked for again after so long: it may be registered meanwhile.
ASK_AGAIN_S = 60.0
_MOST_UNKNOWN = 10_000


class WriterSchemas:
    """The schemas of messages by the frame that begins them; those of the registry become known one by one.

    A schema of the registry is taken when it comes with the package, or is that of a newer version by the rules that
    both keep (`steptrail.schemas.resolution`). Any other is a dead letter, to be redriven after an upgrade, never a
    guess. `learn` is for one thread; builders in others see what it found.
    """

    def __init__(
        self, registry: SchemaRegistry | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._by_frame: dict[bytes, WriterSchema] = dict(bundled_writer_schemas())
        self._by_id: dict[int, dict[str, Any]] = {}
        self.by_frame: dict[bytes, dict[str, Any]] = {
            single_object_prefix(fingerprint(schema)): schema for schema in released_schemas().values()
        }
        """The schemas that are known now, by the frames that name them."""
        self._unknown: dict[int, tuple[float, str]] = {}  # id -> ask again at, what was told

    @property
    def has_registry(self) -> bool:
        """Whether ids of a registry can become known."""
        return self._registry is not None

    def new_builder(self) -> BatchBuilder:
        """A builder of batches that takes what is known now, and by then."""
        return BatchBuilder(self._by_frame)

    def learn(self, frame: Frame) -> None:
        """Make the frame's schema known.

        Raises EventDecodeError (UNKNOWN_SCHEMA) when it is none that this version knows; RegistryUnavailable when
        the registry has to be asked and does not answer.
        """
        self.schema_of(frame)

    def known(self, frame: Frame) -> dict[str, Any] | None:
        """The schema that wrote what follows the frame, None where it is not known; asks nobody. For any thread."""
        if frame.fingerprint is not None:
            return schema_by_fingerprint(frame.fingerprint)
        return self._by_id.get(frame.schema_id) if frame.schema_id is not None else None

    def schema_of(self, frame: Frame) -> dict[str, Any]:
        """The schema that wrote what follows the frame; raises as `learn` does."""
        if frame.fingerprint is not None:
            known = schema_by_fingerprint(frame.fingerprint)
            if known is None:
                raise _unknown(f"no schema is known with fingerprint {frame.fingerprint.hex()}", 2)
            return known
        assert frame.schema_id is not None
        if (found := self._by_id.get(frame.schema_id)) is None:
            found = self._ask(frame.schema_id)
        return found

    def _ask(self, schema_id: int) -> dict[str, Any]:
        if self._registry is None:
            raise _unknown(
                f"the message names schema {schema_id} of a schema registry, and none is configured", 1
            )
        until, told = self._unknown.get(schema_id, (0.0, ""))
        if self._clock() < until:
            raise _unknown(told, 1)
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
        known = known or dict(found)
        frame = confluent_prefix(schema_id)
        self._by_id[schema_id] = known
        self._by_frame[frame] = writer_schema(frame, known, STEP_EVENT_FIELDS)
        self.by_frame[frame] = known
        return known

    def _remember(self, schema_id: int, told: str) -> EventDecodeError:
        if len(self._unknown) >= _MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown[schema_id] = (self._clock() + ASK_AGAIN_S, told)
        return _unknown(told, 1)


def _fingerprint(schema: Mapping[str, Any]) -> bytes:
    try:
        return fingerprint(dict(schema))
    except Exception:  # valid to the registry, but not to our Avro library: certainly none of ours
        return b""


def _unknown(told: str, position: int) -> EventDecodeError:
    return EventDecodeError(DecodeReason.UNKNOWN_SCHEMA, told, position=position)
