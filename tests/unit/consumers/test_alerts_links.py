"""Links of alerts."""

from __future__ import annotations

import pytest

from steptrail.consumers.alerts.model.levels import Level, group_level
from steptrail.consumers.alerts.model.links import MOST_CHARACTERS, linking
from steptrail.consumers.health.rules import HealthStatus
from steptrail.schemas import Settings
from steptrail.schemas.errors import ConfigurationError


def level(pipeline: str, step: str) -> Level:
    return Level(pipeline, step, "errors", HealthStatus.WARNING, "bad", 0.0)


@pytest.mark.parametrize(
    ("pipeline", "step", "path"),
    [
        ("", "", "/"),
        ("invoices", "", "/pipelines/invoices"),
        ("invoices", "ocr", "/pipelines/invoices/steps/ocr"),
        ("a/b c", "100%?#&", "/pipelines/a%2Fb%20c/steps/100%25%3F%23%26"),
        ("..", ".", "/pipelines/%2E%2E/steps/%2E"),
        ("請求書", "<script>|x", "/pipelines/%E8%AB%8B%E6%B1%82%E6%9B%B8/steps/%3Cscript%3E%7Cx"),
        ("p", "x" * 1000, "/pipelines/p"),
        ("p" * 1000, "x", "/"),
    ],
)
def test_names_lead_nowhere_else(pipeline: str, step: str, path: str) -> None:
    """Whatever is in a name, the link is below the base; one that is too long leads to what is around."""
    link = linking("https://look.example/x/")(level(pipeline, step))
    assert link == "https://look.example/x" + path
    assert len(link) <= MOST_CHARACTERS


def test_an_error_group_has_its_own() -> None:
    """By its id."""
    group = group_level("00aa", "p", "s", "E", "t", "NEW", 0.0)
    assert linking("http://x")(group) == "http://x/errors/00aa"


def test_without_an_address_there_are_no_links() -> None:
    """As it is unless set."""
    assert linking(Settings().link_base)(level("p", "s")) == ""


@pytest.mark.parametrize(
    "base", ["look.example", "javascript:alert(1)", "https://u:p@x", "https://x/?a", "https://x|y"]
)
def test_what_is_no_address_is_refused(base: str) -> None:
    """At the start, by name."""
    with pytest.raises(ConfigurationError, match=r"(?i)link_base"):
        Settings(link_base=base)
