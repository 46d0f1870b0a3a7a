"""A real browser, a real Airflow and the emulator, for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect, sync_playwright

from airflow_provider_ampexp.emulator.control import Emulator
from tests_ui.answers import answers
from tests_ui.still import still_page
from tests_ui.world import PASSWORD, Airflow, airflow_beside, emulator_with_a_thousand_flags, release

_PATIENCE = 60_000  # milliseconds; the machine may be slow


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with emulator_with_a_thousand_flags() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Run Airflow, with one rollout in its third stage and one that was rolled back."""
    with airflow_beside(emulator, tmp_path_factory.mktemp("airflow")) as airflow:
        release(airflow, emulator)
        yield airflow


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run Debian's Chromium, which playwright controls."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=_PATIENCE)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def _logged_in(browser: Browser, airflow: Airflow, user: str) -> BrowserContext:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    page.goto(airflow.address)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Dags").first.wait_for()
    page.close()
    return context


@pytest.fixture(scope="session")
def admin(browser: Browser, airflow: Airflow) -> BrowserContext:
    return _logged_in(browser, airflow, "admin")


@pytest.fixture(scope="session")
def viewer(browser: Browser, airflow: Airflow) -> BrowserContext:
    return _logged_in(browser, airflow, "viewer")


class Window:
    """One page of the browser, with its errors and dialogs, and the hosts of its requests."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda value: self.errors.append(value.text) if value.type == "error" else None)
        self.page.on("pageerror", lambda value: self.errors.append(str(value)))
        self.page.on("dialog", lambda value: (self.dialogs.append(value.message), value.dismiss()))
        self.page.on("request", lambda value: self.hosts.add(value.url.split("/")[2]))

    @property
    def frame(self) -> FrameLocator:
        return self.page.frame_locator("iframe")

    def open(self, address: str) -> None:
        """Open the Rollouts page within Airflow."""
        self.page.goto(f"{address}/plugin/rollouts")
        self.frame.locator("tbody tr").first.wait_for()

    def detail(self, key: str) -> None:
        """Open the detail of a flag from the list, and wait until it is complete."""
        self.frame.get_by_role("searchbox").fill(key)
        self.frame.get_by_role("link", name=key, exact=True).click()
        self.frame.get_by_role("heading", name=key, level=1).wait_for()
        self.frame.locator(".versions td").first.wait_for()
        self.page.wait_for_load_state("networkidle")

    def theme(self, name: str) -> None:
        """Set the theme as Airflow's own switch does."""
        self.page.evaluate("name => localStorage.setItem('theme', name)", name)
        self.page.reload()
        self.frame.locator(f"html[data-theme={name}] tbody tr").first.wait_for()


@pytest.fixture
def window(admin: BrowserContext) -> Iterator[Window]:
    """Open a page for a user who may read connections. At its end, check for errors and for requests to other hosts."""
    window = Window(admin)
    yield window
    window.page.close()
    assert window.errors == []
    assert window.dialogs == []
    assert {host.partition(":")[0] for host in window.hosts} <= {"127.0.0.1"}
    assert len(window.hosts) <= 1


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with still_page(answers()) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    yield page
    page.close()


@pytest.fixture(scope="session")
def images() -> Path:
    """Return the folder of the documentation's pictures."""
    return Path(__file__).parents[1] / "docs" / "images"
