"""The topics a projector projects besides the steps: dead letters, emitters' reports and observations."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import Message

from steptrail.consumers.dlq.letter import read_letter
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.projector.side_projection import SideSource
from steptrail.projections.delivery.avro_block import writer_schema
from steptrail.projections.tables.dead_letters import DEAD_LETTERS, dead_letter_schemas
from steptrail.projections.tables.emitter_reports import EMITTER_REPORTS
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.schemas.emitter_report import EMITTER_REPORT_PREFIX, decode_report
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.observation import OBSERVATION_PREFIX, decode_observation
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.bundled import EMITTER_REPORT_SCHEMA, OBSERVATION_SCHEMA


def side_sources(topics: Topics, schemas: WriterSchemas) -> tuple[SideSource, ...]:
    """All side sources; `schemas` resolves the schemas of dead-lettered messages."""
    return (
        SideSource(
            topics.dlq.name,
            topics.dead_letters_group,
            DEAD_LETTERS,
            dead_letter_schemas(),
            lambda message: read_letter(message, schemas).row.encode(),
        ),
        SideSource(
            topics.emitters.name,
            topics.emitters_group,
            EMITTER_REPORTS,
            {EMITTER_REPORT_PREFIX: writer_schema(EMITTER_REPORT_PREFIX, EMITTER_REPORT_SCHEMA)},
            _valid(decode_report, logging.getLogger("steptrail.consumers.emitter_reports")),
        ),
        SideSource(
            topics.observations.name,
            topics.observations_group,
            OBSERVATIONS,
            {OBSERVATION_PREFIX: writer_schema(OBSERVATION_PREFIX, OBSERVATION_SCHEMA)},
            _valid(decode_observation, logging.getLogger("steptrail.consumers.observations")),
        ),
    )


def _valid(decode: Callable[[bytes], object], log: logging.Logger) -> Callable[[Message], bytes]:
    """An encoder that passes values which `decode` accepts through, and logs and drops the rest."""

    def encode(message: Message) -> bytes:
        value = message.value()
        if not isinstance(value, bytes):
            value = b""
        try:
            decode(value)
        except EventDecodeError as error:
            place = {"partition": message.partition(), "offset": message.offset()}
            log.warning("skipped a message: %s", error, extra=place)
            return b""
        return value

    return encode
