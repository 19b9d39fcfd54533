"""Errors as RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from steptrail.consumers.kafka.errors import BrokerUnavailable, TopicMissing
from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch, StoreRefused, StoreUnavailable
from steptrail.projections.clickhouse.pages import BadCursor
from steptrail.projections.stores.error_groups import UnknownGroup
from steptrail.schemas.errors import InfrastructureError

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:steptrail:problem:"


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{_TYPE}store_unavailable",
                    "title": "The store does not answer",
                    "status": 503,
                    "detail": "ClickHouse at 127.0.0.1:8123 cannot be reached: connection refused",
                    "error": "store_unavailable",
                }
            ]
        }
    )

    type: str = Field(description="A URN that stays: `urn:steptrail:problem:` and `error`.")
    title: str = Field(description="What it is, in general.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What it is here, and what to do about it.")
    error: str = Field(description="The short word that stays, as in the command line's errors.")
    near: list[str] = Field(default_factory=list, description="Names that may have been meant.")
    errors: list[dict[str, Any]] = Field(
        default_factory=list, description="Which parts of a request are wrong: `name` and `message`."
    )


_TITLES = {
    "bad_request": "The request is wrong",
    "bad_cursor": "That is no cursor of a page",
    "unauthenticated": "A token is needed",
    "not_allowed": "That is not allowed",
    "not_found": "There is no such thing",
    "method_not_allowed": "The address does not take this method",
    "foreign_host": "The request came under a foreign name",
    "foreign_origin": "The change came from another site",
    "unacceptable_body": "The body is not JSON",
    "busy": "Too much is being asked at the moment",
    "store_unavailable": "The store does not answer",
    "store_refused": "The store refuses",
    "schema_mismatch": "The tables are of another version",
    "broker_unavailable": "The broker does not answer",
    "internal": "Something is wrong in the program",
}


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        *,
        near: Sequence[str] = (),
        errors: Sequence[dict[str, Any]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.problem = Problem(
            type=_TYPE + error,
            title=_TITLES[error],
            status=status,
            detail=detail,
            error=error,
            near=list(near),
            errors=list(errors),
        )


def as_problem(error: BaseException) -> ProblemError | None:
    """What the errors of reading and acting are to who asked; None for one that is a fault of the program."""
    if isinstance(error, ProblemError):
        return error
    detail = str(error)
    if isinstance(error, BadCursor):
        return ProblemError(400, "bad_cursor", detail)
    if isinstance(error, UnknownGroup):
        return ProblemError(404, "not_found", detail)
    if isinstance(error, StoreUnavailable):
        return ProblemError(503, "store_unavailable", detail)
    if isinstance(error, StoreRefused):
        return ProblemError(503, "store_refused", detail)
    if isinstance(error, SchemaMismatch):
        return ProblemError(503, "schema_mismatch", detail)
    if isinstance(error, (BrokerUnavailable, TopicMissing, InfrastructureError)):
        return ProblemError(503, "broker_unavailable", detail)
    if isinstance(error, QueryError):
        return None
    if isinstance(error, ValueError):
        return ProblemError(400, "bad_request", detail)
    return None
