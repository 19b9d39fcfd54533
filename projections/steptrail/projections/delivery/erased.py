"""Erased documents: which records of a batch are theirs, so that no table gets them again.

The condition is part of every inserting statement, and is evaluated when the statement starts. So an erasure that has
written its tombstones needs to wait only for statements that began before; see `lifecycle.erasure`.
"""

from __future__ import annotations

from dataclasses import dataclass

from steptrail.projections.clickhouse.client import ClickHouse

_COUNT = "SELECT count() FROM erased_documents"
_KEY = "(SELECT argMin(key, made_at) FROM erasure_key)"


def any_erased(clickhouse: ClickHouse) -> bool:
    """Whether any document was ever erased."""
    return bool(clickhouse.query(_COUNT)[0][0])


def document_hash(pipeline: str = "pipeline", doc_id: str = "doc_id") -> str:
    """SQL: the hash by which `erased_documents` knows a document, from expressions for its pipeline and id."""
    return f"sipHash128Keyed({_KEY}, toString({pipeline}), {doc_id})"


@dataclass(frozen=True, slots=True)
class Erasable:
    """How to see in a stage that a record is of an erased document; it has columns `pipeline` and `doc_id`.

    `happened` is SQL for the time that is compared with the erasure's. What happened after an erasure is a new event.
    """

    happened: str

    def condition(self, stage: str, *, any_erased: bool = True) -> str:
        """SQL: the row is of no erased document. Costs a constant while none was ever erased.

        Unless there are `any_erased`, it is an error (395) when there are after all; that is planned much faster.
        """
        if not any_erased:
            return f"throwIf(({_COUNT}) != 0, 'steptrail: documents were erased') = 0"
        return (
            f"(({_COUNT}) = 0 OR (kafka_partition, kafka_offset) NOT IN ("
            "SELECT staged.kafka_partition, staged.kafka_offset FROM (SELECT kafka_partition, kafka_offset, "
            f"{document_hash()} AS document, {self.happened} AS happened FROM {stage}) AS staged "
            "INNER JOIN (SELECT document, max(erased_to) AS latest FROM erased_documents GROUP BY document) AS erased "
            "ON erased.document = staged.document WHERE staged.happened <= erased.latest))"
        )
