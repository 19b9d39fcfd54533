"""Schemathesis against the OpenAPI document: whatever it allows, and what it does not, no server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from steptrail.consumers.web.app import create_app
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import ONLY_IN_TEST_ALL
from support.projected import Tables, event
from support.stack import Stack, new_workspace
from support.waiting import until
from support.web import Api, serving

LONGEST_ADDRESS = 60_000
CHECKS: list[Any] = [
    not_a_server_error,
    content_type_conformance,
    status_code_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def workspace_of_module(stack: Stack) -> Iterator[Settings]:
    with new_workspace(stack) as settings:
        with connect(settings) as clickhouse:
            tables = Tables(clickhouse)
            tables.write(
                event(S.ERROR, n, doc_id=f"d{n}", execution=n + 1, error_message="no") for n in range(20)
            )
        yield settings


@pytest.fixture(scope="module")
def api(workspace_of_module: Settings) -> Iterator[Api]:
    with serving(workspace_of_module) as running:
        until(lambda: running.get("/alerts").status == 200, "what the topics of alerting hold")
        yield running


def _document() -> Any:
    settings = Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1/x")
    return schemathesis.openapi.from_dict(create_app(settings).openapi())


OPERATIONS = {
    operation.ok().label: operation.ok()
    for operation in _document().get_all_operations()
    if not operation.ok().path.endswith("/live")  # streams without end
}


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("label", sorted(OPERATIONS))
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_request_makes_a_server_error(api: Api, label: str, mode: schemathesis.GenerationMode) -> None:
    """And every answer is one that the document announces."""

    @hypothesis.given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=api.address, timeout=60)
        # An address past 64 KiB is refused by the server's parser, which knows of no document.
        checks: list[Any] = (
            CHECKS if len(response.request.url or "") < LONGEST_ADDRESS else [not_a_server_error]
        )
        case.validate_response(response, checks=checks)

    try:
        check()
    except hypothesis.errors.Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # there is nothing to get wrong
