"""The three workflows that the programming interface is made for, as people write them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from steptrail.producers import ProcessingStepManager
from steptrail.schemas import ProcessingStatus


def basic(manager: ProcessingStepManager, doc_id: str, work: Callable[[], dict[str, Any]]) -> None:
    manager.add_step(doc_id, "process", ProcessingStatus.RUNNING)
    try:
        result = work()
        manager.add_step(
            doc_id=doc_id,
            step_name="process",
            status=ProcessingStatus.SUCCESS,
            details=result,
            metrics={"duration_ms": 150, "memory_mb": 256},
        )
    except Exception as e:
        manager.add_step(
            doc_id=doc_id, step_name="process", status=ProcessingStatus.ERROR, error_message=str(e)
        )
        raise


def retry(
    manager: ProcessingStepManager, doc_id: str, work: Callable[[], dict[str, Any]], max_retries: int
) -> dict[str, Any]:
    for n in range(max_retries):
        manager.add_step(doc_id, "process", ProcessingStatus.RUNNING, details={"retry_count": n})
        try:
            result = work()
        except Exception as e:
            if n == max_retries - 1:
                manager.add_step(
                    doc_id,
                    "process",
                    ProcessingStatus.FAILED,
                    details={"retry_count": n},
                    error_message=f"Max retries exceeded: {e}",
                )
                raise
            manager.add_step(
                doc_id,
                "process",
                ProcessingStatus.ERROR,
                details={"retry_count": n},
                error_message=f"Retry {n}: {e}",
            )
        else:
            manager.add_step(
                doc_id, "process", ProcessingStatus.SUCCESS, details={"retry_count": n, **result}
            )
            return result
    raise AssertionError("max_retries is at least 1")


async def parallel(
    manager: ProcessingStepManager,
    doc_id: str,
    sections: Sequence[str],
    work: Callable[[str], Awaitable[dict[str, Any]]],
) -> None:
    tasks: dict[str, asyncio.Future[dict[str, Any]]] = {}
    for section in sections:
        manager.add_step(doc_id, f"process_section_{section}", ProcessingStatus.RUNNING)
        tasks[section] = asyncio.ensure_future(work(section))
    for section, task in tasks.items():
        try:
            result = await task
            manager.add_step(doc_id, f"process_section_{section}", ProcessingStatus.SUCCESS, details=result)
        except Exception as e:
            manager.add_step(
                doc_id, f"process_section_{section}", ProcessingStatus.ERROR, error_message=str(e)
            )
