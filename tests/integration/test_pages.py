"""The pages in a real Chromium: from a glance to the cause, whatever the text, the theme, the width and the fault."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus, Settings
from support.browser import DESK, PHONE, TABLET, chromium, keep_picture, opened, served
from support.effort import only_some
from support.letters import set_aside
from support.projecting import Projected, projected, projecting
from support.stack import Stack, new_workspace
from support.waiting import until

RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
ERROR, FAILED = ProcessingStatus.ERROR, ProcessingStatus.FAILED
CAUSE = "no answer from 10.0.3.17:8080 within 30 s"
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>\u202egnp.exe\x1b[31m"
VISIBLE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>\\u202egnp.exe\\x1b[31m"
PAGES = {
    "overview": "/",
    "failing": "/failing",
    "documents": "/documents",
    "document": "/document?pipeline=default&doc=scan_0042.pdf",
    "errors": "/errors",
    "steps": "/steps",
    "step": "/steps/one?pipeline=default&step=ocr",
    "search": "/search?q=scan",
    "operations": "/operations",
    "gone": "/document?doc=never+heard+of",
    "wrong": "/?since=yesterday-ish",
}


def record(settings: Settings) -> int:
    """Documents that are well, one that fails at its third attempt, one that is hostile; how many events."""
    with emit_only(settings) as storage:
        manager = ProcessingStepManager(storage)
        for number in range(20):
            manager.add_step(f"scan_{number:04d}.pdf", "fetch", RUNNING)
            manager.add_step(
                f"scan_{number:04d}.pdf", "fetch", SUCCESS, {"pages": number}, {"duration_ms": 12.5}
            )
        manager.add_step("scan_0042.pdf", "fetch", SUCCESS)
        for attempt in range(3):
            manager.add_step("scan_0042.pdf", "ocr", RUNNING, {"retry_count": attempt})
            manager.add_step(
                "scan_0042.pdf", "ocr", ERROR, {"retry_count": attempt, "dpi": 300}, error_message=CAUSE
            )
        manager.add_step("scan_0043.pdf", "ocr", FAILED, error_message="not a document")
        manager.add_step(HOSTILE, HOSTILE[:80], ERROR, {HOSTILE: HOSTILE}, error_message=HOSTILE)
        manager.add_step("scan_0044.pdf", "embed", RUNNING, {"text": "x" * 20_000})
        assert storage.flush(60) == 0
        return storage.accounting().accepted


@pytest.fixture(scope="module")
def recorded(stack: Stack) -> Iterator[tuple[Settings, Projected]]:
    """A workspace in which some things went wrong."""
    with new_workspace(stack, web_port=0) as settings, projected(settings) as store, projecting(settings):
        events = record(settings)
        until(lambda: store.count() == events, "projection of all events")
        yield settings, store


@pytest.fixture(scope="module")
def address(recorded: tuple[Settings, Projected]) -> Iterator[str]:
    """Where its pages are."""
    with served(recorded[0]) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    with chromium() as found:
        yield found


def test_from_the_overview_to_the_cause_in_three_clicks(browser: Browser, address: str) -> None:
    """Who never saw the page finds why a document failed: failing, the document, and there it stands."""
    with opened(browser) as (context, complaints):
        page = context.new_page()
        page.goto(address)
        page.get_by_role("link", name="Failing", exact=True).click()
        page.get_by_role("link", name="scan_0042.pdf").click()
        expect(page.get_by_role("heading", name="scan_0042.pdf")).to_be_visible()
        expect(page.locator("#now")).to_contain_text(CAUSE)
        expect(page.locator("#now")).to_contain_text("3rd try")
        expect(page.get_by_text("Attempts of ocr, side by side")).to_be_visible()
        assert page.locator("#waterfall svg").count() == 4
        keep_picture(page, "document")
        assert not complaints


@pytest.mark.parametrize(
    ("width", "theme"),
    only_some(
        (PHONE, "light"), (TABLET, "dark"), (DESK, "dark"),
        rest=[(PHONE, "dark"), (TABLET, "light"), (DESK, "light")],
    ),
)  # fmt: skip
def test_every_page_fits_and_can_be_read(browser: Browser, address: str, width: int, theme: str) -> None:
    """At each width in each theme nothing sticks out, nothing complains, and axe-core finds nothing serious."""
    with opened(browser, width=width, theme=theme) as (context, complaints):
        page = context.new_page()
        for name, path in PAGES.items():
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            found = Axe().run(page).response["violations"]
            serious = [
                (each["id"], each["nodes"][0]["html"][:200])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            assert not serious, name
            keep_picture(page, f"{name}-{width}-{theme}")
        assert not [each for each in complaints if "404" not in each and "400" not in each]


def test_hostile_text_is_only_text(browser: Browser, address: str) -> None:
    """Script, markup, escapes and bidi overrides in every field of an event are shown, and do nothing."""
    with opened(browser) as (context, complaints):
        page = context.new_page()
        for path in ("/", "/failing", "/documents", "/errors", "/steps", "/search?q=script"):
            page.goto(address + path)
            assert page.locator("img").count() == 0
        page.goto(address + "/failing")
        page.get_by_role("link", name=re.compile("script")).first.click()
        expect(page.locator("h1")).to_have_text(VISIBLE)
        expect(page.locator("#now")).to_contain_text(VISIBLE[:60])
        assert page.locator("main script, main img").count() == 0
        page.goto(f"{address}/search?q=" + "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%00")
        assert not complaints


def test_a_live_page_announces_what_is_new_and_moves_nothing(
    browser: Browser, address: str, recorded: tuple[Settings, Projected]
) -> None:
    """A document that begins to fail is announced; its row comes when asked for, and none before it moves."""
    settings, _ = recorded
    with opened(browser) as (context, complaints):
        page = context.new_page()
        page.goto(f"{address}/failing")
        before = page.locator("#failing-1 tr").all_inner_texts()
        with emit_only(settings) as storage:
            ProcessingStepManager(storage).add_step("scan_0099.pdf", "ocr", ERROR, error_message=CAUSE)
            assert storage.flush(60) == 0
        expect(page.locator("#news")).to_have_text("1 new ▸")
        assert [text.split("\t")[0] for text in page.locator("#failing-1 tr").all_inner_texts()] == [
            text.split("\t")[0] for text in before
        ]
        page.locator("#news").click()
        expect(page.get_by_role("link", name="scan_0099.pdf")).to_be_visible()
        assert not complaints


def test_what_is_silenced_is_listed_and_can_be_ended(browser: Browser, address: str) -> None:
    """A silence is made in a form and ended by its button; both go through the API, by the page's own origin."""
    with opened(browser) as (context, complaints):
        page = context.new_page()
        page.goto(f"{address}/operations")
        page.get_by_text("silence…").click()
        page.get_by_label("pipeline", exact=True).last.fill("invoices")
        page.get_by_label("because").fill("a new model is tried")
        page.get_by_role("button", name="silence", exact=True).click()
        expect(page.locator("#silences")).to_contain_text("a new model is tried")
        page.get_by_role("button", name="end it now").click()
        expect(page.get_by_text("Nothing is silenced.")).to_be_visible()
        assert not complaints


def test_a_redrive_says_first_what_can_go(
    browser: Browser, address: str, recorded: tuple[Settings, Projected]
) -> None:
    """The dry run separates what can be sent again from what would only come back; then it is sent."""
    settings, _ = recorded
    set_aside(settings, [b"not an event"])
    with opened(browser) as (context, complaints):
        page = context.new_page()

        def listed() -> bool:
            page.goto(f"{address}/operations")
            return page.locator("#letters tr").count() > 0

        until(listed, "dead letter on the page")
        page.get_by_role("button", name="what can be sent again?").click()
        expect(page.locator("#redrive-plan")).to_contain_text("0 can go, 1 cannot: they would only come back")
        assert not complaints


def test_the_keyboard_reaches_everything(browser: Browser, address: str) -> None:
    """/ searches, g f goes to what fails, j and Enter open a row, Ctrl K finds a document."""
    with opened(browser) as (context, complaints):
        page = context.new_page()
        page.goto(address)
        page.keyboard.press("/")
        expect(page.locator("#search")).to_be_focused()
        page.keyboard.press("Escape")
        page.locator("main").focus()
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.wait_for_url(re.compile(r"/failing"))  # the page before has such a heading, too
        expect(page.get_by_role("heading", name="Failing now")).to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/document\?"))
        page.keyboard.press("Control+k")
        page.locator("#palette-input").fill("scan_0007")
        expect(page.locator("#palette-list")).to_contain_text("scan_0007.pdf")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="scan_0007.pdf")).to_be_visible()
        assert not complaints


def test_the_address_is_all_there_is_to_a_page(browser: Browser, address: str) -> None:
    """Pipeline and time stand in the address, links keep them, and a relative time can be frozen."""
    with opened(browser) as (context, _):
        page = context.new_page()
        page.goto(f"{address}/?pipeline=default")
        page.get_by_label("time range").select_option("6h")
        page.wait_for_url(re.compile("since=6h"))
        page.get_by_role("link", name="Errors", exact=True).click()
        page.wait_for_url(re.compile("pipeline=default.*since=6h"))
        page.get_by_role("link", name="freeze").click()
        page.wait_for_url(re.compile(r"since=20\d\d-.*until=20\d\d-"))


def test_without_the_store_every_page_says_what_it_cannot_know(
    browser: Browser, recorded: tuple[Settings, Projected]
) -> None:
    """A store that is away leaves every page standing: what is not known is said, and nothing is made up."""
    away = recorded[0].with_values(clickhouse="http://127.0.0.1:1/nowhere")
    with served(away) as found, opened(browser) as (context, _):
        page = context.new_page()
        for name, path in PAGES.items():
            answer = page.goto(found + path)
            assert answer is not None
            assert answer.status in (200, 400, 503), name
            if name != "wrong":
                expect(page.locator("#fresh")).to_have_class(re.compile("blind"))
            keep_picture(page, f"away-{name}")


def test_a_page_weighs_little(browser: Browser, address: str) -> None:
    """The first view is at most 12 requests and 150 kB as they are sent."""
    with opened(browser, width=DESK) as (context, _):
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        weights: list[float] = []
        session.on("Network.loadingFinished", lambda event: weights.append(event["encodedDataLength"]))
        page.goto(f"{address}/steps/one?pipeline=default&step=ocr&live=0")
        page.wait_for_load_state("networkidle")
        assert len(weights) <= 12
        assert sum(weights) <= 150_000


def test_a_phone_shows_rows_of_two_lines(browser: Browser, address: str) -> None:
    """On a phone a table's cells stand below one another, each with its name."""
    with opened(browser, width=PHONE) as (context, _):
        page = context.new_page()
        page.goto(f"{address}/failing")
        row = page.locator("#failing-1 tr").first
        assert row.evaluate("row => getComputedStyle(row).display") == "flex"
