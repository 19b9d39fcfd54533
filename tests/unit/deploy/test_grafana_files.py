"""The dashboards of deploy/grafana are what the code makes, and fit together."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
BOARDS: list[dict[str, Any]] = [json.loads(file.read_text("utf-8")) for file in FILES]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="grafana-foundation-sdk wants Python 3.11")
def test_the_files_are_what_the_code_makes() -> None:
    """`.venv/bin/python deploy/grafana/write.py` writes them."""
    from grafana.write import dashboards

    assert {file.name: file.read_text("utf-8") for file in FILES} == dashboards()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board["uid"]))
def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    """Each panel has its own place in Grafana's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        x, y = place.get("x", 0), place.get("y", 0)
        cells = {(x + i, y + j) for i in range(place["w"]) for j in range(place["h"])}
        assert max(at for at, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board["uid"]))
def test_links_lead_somewhere(board: dict[str, Any]) -> None:
    """A link to a dashboard names one that is here and variables that it has; all others lead to steptrail's pages."""
    known = {each["uid"]: {variable["name"] for variable in each["templating"]["list"]} for each in BOARDS}
    assert len(known) == len(BOARDS) == 4
    for url in re.findall(r'"url": "([^"]*)"', json.dumps(board)):
        found = re.match(r"/d/([\w-]+)\?", url)
        if found is None:  # without an address: the list of these dashboards
            assert not url or url.startswith("${pages}/"), url
        else:
            assert set(re.findall(r"var-(\w+)=", url)) <= known[found[1]], url


def test_every_panel_asks_the_datasource_that_is_provisioned() -> None:
    """By its uid; the dashboards' provider names the folder that compose mounts."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/steptrail.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    for board in BOARDS:
        for panel in board["panels"]:
            for asked in (panel, *panel["targets"]):
                assert (asked["datasource"]["type"], asked["datasource"]["uid"]) in known
