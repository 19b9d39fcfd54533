"""README and every page of docs/, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from steptrail.consumers.projector.run import run_projector
from steptrail.schemas import Settings
from support.effort import ONLY_IN_TEST_ALL
from support.pages import read_page

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("run_page.py")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "deploy/chart/README.md",
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
OWN_STACK = {"running.md"}  # begins with `steptrail up`
QUICK = {"README.md", "emitting.md"}  # the others take half a minute each
RUN = [
    pytest.param(page, marks=() if page.name in QUICK else ONLY_IN_TEST_ALL)
    for page in PAGES
    if read_page(page).blocks and page.name not in OWN_STACK
]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def projected(workspace: Settings) -> Iterator[dict[str, str]]:
    """The environment of a workspace whose events are projected while the page runs."""
    stop = threading.Event()
    projector = threading.Thread(target=run_projector, args=(workspace, stop))
    projector.start()
    yield {
        "STEPTRAIL_KAFKA": workspace.kafka,
        "STEPTRAIL_CLICKHOUSE": workspace.clickhouse.get_secret_value(),
        "STEPTRAIL_TOPIC_PREFIX": workspace.topic_prefix,
    }
    stop.set()
    projector.join(30)
    assert not projector.is_alive()


def run(page: Path, environment: dict[str, str]) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        env=kept | environment | {"PATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", RUN, ids=named)
def test_every_snippet_of_a_page_runs(page: Path, projected: dict[str, str]) -> None:
    """What a page shows works when it is done in the order of the page."""
    run(page, projected)


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("name", sorted(OWN_STACK))
def test_a_page_that_starts_its_own_stack_runs(name: str, tmp_path: Path) -> None:
    """The same, from nothing but an empty folder."""
    environment = {"STEPTRAIL_DIR": str(tmp_path)}
    try:
        run(ROOT / "docs" / name, environment)
    finally:
        subprocess.run(
            [sys.executable, "-m", "steptrail.deploy.cli", "down", "--dir", str(tmp_path)], check=False
        )


@ONLY_IN_TEST_ALL
def test_the_first_command_of_the_readme_runs(tmp_path: Path) -> None:
    """`make demo` is what a newcomer types first; here with fewer documents."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^make \w+", page, re.MULTILINE) == ["make demo", "make test"]
    done = subprocess.run(
        ["make", "demo", f"ARGS=--docs 200 --dir {tmp_path / 'demo'}"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file of the repository, and each anchor a heading of its page."""
    for target, anchor in read_page(page).links:
        linked = page if not target else (page.parent / target)
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in read_page(linked).anchors, f"{page.name} links to {target}#{anchor}"


def test_the_pages_are_not_empty() -> None:
    """The runner finds the blocks: were their marking to change, every page would pass by doing nothing."""
    assert read_page(ROOT / "docs" / "emitting.md").blocks >= 10
    assert read_page(ROOT / "docs" / "reading.md").blocks >= 10
    assert read_page(ROOT / "docs" / "running.md").blocks >= 2
    assert read_page(ROOT / "README.md").blocks >= 3
