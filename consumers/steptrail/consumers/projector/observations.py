"""The topic of observations, for the projector that runs beside the one of steps."""

from __future__ import annotations

import logging

from steptrail.consumers.projector.own_records import as_it_is
from steptrail.consumers.projector.side_projection import SideSource
from steptrail.projections.delivery.avro_block import writer_schema
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.schemas.observation import OBSERVATION_PREFIX, decode_observation
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.bundled import OBSERVATION_SCHEMA

_log = logging.getLogger("steptrail.consumers.observations")


def observation_source(topics: Topics) -> SideSource:
    """Each observation as it is; a message that is none is passed over, and said."""
    return SideSource(
        topics.observations.name,
        topics.observations_group,
        OBSERVATIONS,
        {OBSERVATION_PREFIX: writer_schema(OBSERVATION_PREFIX, OBSERVATION_SCHEMA)},
        as_it_is(decode_observation, _log),
    )
