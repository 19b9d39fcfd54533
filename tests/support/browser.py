"""A real Chromium, and the pages served to it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect, sync_playwright

from steptrail.consumers.web.run import run_web
from steptrail.schemas.configuration.settings import Settings

PHONE, TABLET, DESK = 390, 820, 1280
WIDTHS = (PHONE, TABLET, DESK)
THEMES = ("light", "dark")
PATIENCE_MS = 30_000


def find_chromium() -> str:
    """Its program. Skips the test, and says why, where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("THE PAGES ARE NOT TESTED IN A BROWSER: no chromium on PATH (apt-get install chromium)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address at which the pages of a workspace are served."""
    ready, stop = threading.Event(), threading.Event()
    addresses: list[str] = []
    failures: list[BaseException] = []

    def started(address: str) -> None:
        addresses.append(address)
        ready.set()

    def run() -> None:
        try:
            run_web(settings, stop, on_ready=started)
        except BaseException as error:
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="pages")
    thread.start()
    try:
        assert ready.wait(60)
        assert not failures, failures
        yield addresses[0].rstrip("/")
    finally:
        stop.set()
        thread.join(60)


@contextmanager
def opened(
    browser: Browser, *, width: int = DESK, theme: str = "light"
) -> Iterator[tuple[BrowserContext, list[str]]]:
    """A browser's window; what its pages complain about, scripts that the policy refused included, is collected."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    complaints: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", dismiss)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

    context.on("page", watch)
    try:
        yield context, complaints
    finally:
        context.close()


def keep_picture(page: Page, name: str) -> None:
    """Keep what the page looks like where STEPTRAIL_TEST_PICTURES says, if it does."""
    if folder := os.environ.get("STEPTRAIL_TEST_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
