"""The intervals of holdback guardrails over time in a real Chromium, without Airflow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests_ui.answers import THEMES
from tests_ui.contrast import too_faint

SECTION = "Difference to the users without the feature"


@pytest.fixture
def section(page: Page, address: str) -> Locator:
    page.goto(address)
    page.get_by_role("link", name="degraded", exact=True).click()
    return page.get_by_label(SECTION)


def test_each_guardrail_has_a_chart_with_its_newest_interval(section: Locator) -> None:
    figures = section.get_by_role("figure")
    expect(figures).to_have_count(2)
    expect(figures.first.locator("figcaption")).to_contain_text(
        re.compile(r"orders per user 7\.2 % lower with the feature \(interval .13\.8 % to .0\.6 %\), checked .* at 5 %")
    )
    chart = figures.first.get_by_role("img")
    expect(chart.locator("polygon.band")).to_have_count(2)  # one for each stage
    expect(chart.locator("line.zero")).to_have_count(1)
    expect(chart.locator("line.acceptable")).to_have_count(1)
    expect(chart.locator("polygon.red")).to_have_count(1)  # the check that failed
    expect(chart.locator("circle.measured")).to_have_count(11)
    expect(chart).to_contain_text("2 % worse is acceptable")


def test_a_chart_has_its_zero_line_between_its_bounds(section: Locator) -> None:
    chart = section.get_by_role("img").first
    expect(chart.locator("line.zero")).to_be_attached()
    lines = chart.evaluate(
        """svg => {
          const y = name => Number(svg.querySelector(`line.${name}`).getAttribute("y1"));
          const points = svg.querySelectorAll("polygon.band")[1].getAttribute("points").split(" ");
          const [high, low] = points.slice(2, 4).map(point => Number(point.split(",")[1]));
          return { zero: y("zero"), acceptable: y("acceptable"), high, low };
        }"""
    )
    assert lines["zero"] < lines["acceptable"] < lines["low"]
    assert lines["zero"] < lines["high"] < lines["low"]  # the whole interval is worse


@pytest.mark.parametrize(("place", "side"), [(0, "bottom"), (1, "top")])
def test_the_worse_half_is_where_the_guardrail_says(section: Locator, place: int, side: str) -> None:
    chart = section.get_by_role("img").nth(place)
    zero = float(chart.locator("line.zero").get_attribute("y1") or 0)
    worse = float(chart.locator("rect.worse").get_attribute("y") or 0)
    assert (worse >= zero) == (side == "bottom")


def test_the_chart_is_a_text_and_a_table_too(section: Locator) -> None:
    chart = section.get_by_role("img").first
    expect(chart.locator("title")).to_have_text(
        "orders per user: difference to the users without the feature over time"
    )
    expect(chart.locator("desc")).to_contain_text("A lower value is worse. 2 % worse is acceptable. At 1 %: ")
    figure = section.get_by_role("figure").first
    expect(figure.locator("tbody tr")).to_have_count(12)
    expect(figure.locator("table")).to_be_hidden()
    figure.get_by_text("Show 12 checks as a table").click()
    expect(figure.locator("tbody tr").first).to_have_text(re.compile(r"UTC5 %.7\.20 %.13\.78 %.0\.62 %fail"))


def test_a_rollout_without_intervals_has_no_chart(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="progressing", exact=True).click()
    page.get_by_role("region", name="Percentage over time").wait_for()
    expect(page.get_by_label(SECTION)).to_have_count(0)


def test_the_chart_follows_the_width_of_the_page(page: Page, section: Locator) -> None:
    chart = section.get_by_role("img").first
    for width in (1300, 600):
        page.set_viewport_size({"width": width, "height": 900})
        expect(chart).to_have_attribute("viewBox", re.compile(rf"0 0 {width // 100 - 1}\d\d 250"))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_of_the_intervals_for_the_documentation(
    page: Page, section: Locator, images: Path, theme: str
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    expect(section.get_by_role("img").first).to_be_visible()
    assert too_faint(page) == []
    section.get_by_role("figure").first.screenshot(path=images / f"rollouts-interval-{theme}.png")
