"""The topic of emitters as what is projected into `emitter_reports`."""

from __future__ import annotations

import logging

from steptrail.consumers.projector.own_records import as_it_is
from steptrail.consumers.projector.side_projection import SideSource
from steptrail.projections.delivery.avro_block import writer_schema
from steptrail.projections.tables.emitter_reports import EMITTER_REPORTS
from steptrail.schemas.emitter_report import EMITTER_REPORT_PREFIX, decode_report
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.bundled import EMITTER_REPORT_SCHEMA

_log = logging.getLogger("steptrail.consumers.emitter_reports")


def emitter_report_source(topics: Topics) -> SideSource:
    """Each report as it is; a message that is none is passed over, and said."""
    return SideSource(
        topics.emitters.name,
        topics.emitters_group,
        EMITTER_REPORTS,
        {EMITTER_REPORT_PREFIX: writer_schema(EMITTER_REPORT_PREFIX, EMITTER_REPORT_SCHEMA)},
        as_it_is(decode_report, _log),
    )
