"""Makes the pictures of the pages that README and docs show: from the demo's data, in a real browser.

`make screenshots` runs it; the pictures go to docs/images/.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from steptrail.schemas.configuration.settings import read_stack_file
from support.browser import DESK, THEMES, chromium, opened

IMAGES = Path(__file__).parents[2] / "docs/images"
STEPTRAIL = [sys.executable, "-m", "steptrail.deploy.cli"]


def main() -> None:
    """Run the demo in a folder of its own, take the pictures, stop it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([*STEPTRAIL, "demo", "--keep", "--docs", "1500", "--dir", name], check=True)
        try:
            running = read_stack_file(folder)
            assert running is not None
            assert running.web is not None
            with chromium() as browser:
                take(browser, running.web.rstrip("/"))
        finally:
            subprocess.run([*STEPTRAIL, "down", "--dir", name], check=True)


def take(browser: Browser, address: str) -> None:
    """The overview in each theme, as wide as a desk's screen. Other pages name files of this machine."""
    for theme in THEMES:
        with opened(browser, width=DESK, theme=theme) as (context, _):
            page = context.new_page()
            page.goto(f"{address}/?live=0")
            page.wait_for_function("document.querySelectorAll('#steps tr').length > 5")
            picture(page, f"page-overview-{theme}")


def picture(page: Page, name: str) -> None:
    """What is seen without scrolling."""
    page.screenshot(path=IMAGES / f"{name}.png")
    print(f"docs/images/{name}.png")


if __name__ == "__main__":
    main()
