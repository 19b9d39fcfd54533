"""The dead-letter topic as what is projected into `dead_letters`."""

from __future__ import annotations

from steptrail.consumers.dlq.letter import read_letter
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.projector.side_projection import SideSource
from steptrail.projections.tables.dead_letters import DEAD_LETTERS, dead_letter_schemas
from steptrail.schemas.topics import Topics


def dead_letter_source(topics: Topics, schemas: WriterSchemas) -> SideSource:
    """Each letter as a row; `schemas` says which schema wrote it, as far as is known."""
    return SideSource(
        topics.dlq.name,
        topics.dead_letters_group,
        DEAD_LETTERS,
        dead_letter_schemas(),
        lambda message: read_letter(message, schemas).row.encode(),
    )
