"""The stale flags in a real Chromium, without Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests_ui.answers import THEMES, answers
from tests_ui.contrast import too_faint
from tests_ui.still import still_page


def test_the_table_says_why_since_when_who_and_what_needs_it(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Stale flags").click()
    expect(page.get_by_role("heading", name="Stale flags", level=1)).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("3 flags and experiments, stale for 60 days or more")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    cells = rows.first.locator("td")
    expect(cells).to_contain_text(
        ["old-search", "no deployment for 275 days", "2025-06-01", "last edited by Olga", "flag 'search-box'"]
    )
    expect(rows.first.get_by_role("link", name="old-search")).to_have_attribute("href", "#/acme/flags/72")
    amplitude = rows.first.get_by_role("link", name="Open in Amplitude")
    expect(amplitude).to_have_attribute("href", "https://app.amplitude.com/experiment/1/config/7")
    expect(page.get_by_role("link", name="Task stale")).to_have_attribute(
        "href", "../dags/clean_up/runs/scheduled__2026-03-02/tasks/stale"
    )


def test_a_search_leaves_the_rows_that_match(page: Page, address: str) -> None:
    page.goto(f"{address}/#/stale")
    page.get_by_role("searchbox").fill("maria decided")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("status")).to_contain_text("1 of 3 flags and experiments")


def test_the_tabs_lead_back(page: Page, address: str) -> None:
    page.goto(f"{address}/#/stale")
    views = page.get_by_role("navigation", name="Views")
    expect(views.locator("[aria-current=page]")).to_have_text("Stale flags")
    views.get_by_role("link", name="Flags and rollouts").click()
    expect(page.get_by_role("heading", name="Rollouts", level=1)).to_be_visible()
    expect(views.locator("[aria-current=page]")).to_have_text("Flags and rollouts")


def test_a_list_in_a_file_is_counted(page: Page) -> None:
    found = answers()
    (listed,) = found["/stale"]["lists"]
    found["/stale"]["lists"] = [{**listed, "rows": None, "count": 4200}, {**listed, "rows": None, "count": None}]
    with still_page(found) as address:
        page.goto(f"{address}/#/stale")
        status = page.get_by_role("status")
        expect(status.first).to_contain_text("4200 flags and experiments")
        expect(status.first).to_contain_text("They are in the file that the task wrote.")
        expect(status.nth(1)).to_contain_text("The task keeps no result in Airflow.")
        expect(page.locator("tbody")).to_have_count(0)


def test_an_airflow_without_a_list_shows_how_to_make_one(page: Page) -> None:
    with still_page({**answers(), "/stale": {"lists": [], "now": "2026-03-03T10:00:00Z"}}) as address:
        page.goto(f"{address}/#/stale")
        start = page.get_by_label("How to start")
        expect(start).to_contain_text("No list of stale flags yet")
        expect(start.locator("pre")).to_contain_text("AmplitudeStaleFlagsOperator(")
        compile(start.locator("pre").inner_text(), "shown", "exec")


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_of_the_stale_flags_for_the_documentation(page: Page, address: str, images: Path, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 1300, "height": 570})
    page.goto(f"{address}/#/stale")
    page.locator("tbody tr").first.wait_for()
    assert too_faint(page) == []
    page.screenshot(path=images / f"rollouts-stale-{theme}.png")
