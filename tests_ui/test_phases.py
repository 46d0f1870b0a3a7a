"""Each phase of a rollout in a real Chromium, in the list and in the detail, without Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from playwright.sync_api import Page, expect

from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from tests_ui.answers import PHASES, THEMES, without_rollouts
from tests_ui.contrast import too_faint
from tests_ui.still import still_page


def test_the_list_shows_what_needs_a_person_first(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("tbody .phase")).to_have_text(list(PHASES))
    expect(page.get_by_role("status")).to_contain_text("1 degraded, 1 waiting for approval, 1 held, 1 paused")
    page.get_by_label("Rollout", exact=True).select_option("held")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Held by a person · stage 2 of 4")
    expect(page.locator("tbody tr")).to_contain_text("Next: nothing is raised until a person removes the tag")


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_of_the_phases_for_the_documentation(page: Page, address: str, images: Path, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto(address)
    page.locator("tbody tr").first.wait_for()
    page.locator(".list table").screenshot(path=images / f"rollouts-phases-{theme}.png")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("phase", PHASES)
def test_the_detail_begins_with_the_phase(page: Page, address: str, phase: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto(address)
    page.get_by_role("link", name=phase.replace(" ", "-"), exact=True).click()
    stands = page.get_by_label("State of the flag")
    expect(stands.locator(":scope > *").first).to_contain_text(phase)
    expect(stands.locator("dt")).to_contain_text(["Why", "Next"] if phase == "paused" else ["Why", "Since", "Next"])
    sign = page.locator(".phase").first.evaluate("one => getComputedStyle(one, '::before').content")
    assert len(sign.split("/")[0].strip(' "')) == 1  # the sign shows the phase without the colour
    assert too_faint(page) == []


def test_each_stage_shows_what_the_guardrails_said_there(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="rolled-back", exact=True).click()
    stages = page.get_by_label("Stages of the plan").locator(":scope > li")
    expect(stages).to_have_count(4)
    first, second, third, _ = stages.all()
    guardrails = first.get_by_label("Guardrails at this stage").get_by_role("listitem")
    expect(guardrails).to_have_text(["errors passed2 of 3 checks passed", "latency passed1 of 1 checks passed"])
    expect(second).to_contain_text("✕ 5 %rolled back from here")
    expect(second).to_contain_text("errors failed9 % of requests fail")
    expect(second).to_contain_text("latency raised an errorno connection 'warehouse'")
    expect(third.get_by_label("Guardrails at this stage")).to_have_count(0)
    page.goto(address)
    page.get_by_role("link", name="degraded", exact=True).click()
    present = page.locator("[aria-current=step]")
    expect(present).to_contain_text("errors failed4 % of requests fail")
    expect(present).to_contain_text("Next check")


def test_what_a_click_would_do_is_told(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="waiting-for-approval", exact=True).click()
    actions = page.get_by_label("Manual actions").get_by_role("row")
    expect(actions).to_contain_text(
        ["If you", "Approve, or mark approve_25 as success", "Reject", "Mark approve_25 as failed", "Clear", "Pause"]
    )
    expect(actions.nth(2)).to_contain_text("lowers the flag from 5 % to 0 % (disabled)")
    page.goto(address)
    page.get_by_role("link", name="paused", exact=True).click()
    expect(page.get_by_label("Manual actions")).to_contain_text("Unpause the DAG")


def test_an_airflow_without_a_connection_is_told_how_to_make_one(page: Page) -> None:
    with still_page(without_rollouts([])) as address:
        page.goto(address)
        start = page.get_by_label("How to start")
        expect(start).to_contain_text("No connection of the type Amplitude Experiment")
        expect(start.get_by_role("link", name="Connections")).to_have_attribute("href", "../connections")
        expect(page.locator("tbody")).to_have_count(0)


def test_an_airflow_without_a_rollout_is_shown_how_to_make_the_first(page: Page) -> None:
    with still_page(without_rollouts(["acme"])) as address:
        page.goto(address)
        start = page.get_by_label("How to start")
        expect(start).to_contain_text("No rollout yet")
        expect(start.locator("pre")).to_contain_text('flag_key="new-checkout"')
        expect(start.locator("pre")).to_contain_text('amplitude_conn_id="acme"')
        expect(start).to_contain_text("First rollout")
        expect(page.locator("tbody tr")).to_have_count(len(PHASES))
        page.get_by_role("link", name="degraded", exact=True).click()
        start = page.get_by_label("How to start")
        expect(start.locator("pre")).to_be_hidden()
        start.get_by_text("How to roll this flag out").click()
        expect(start.locator("pre")).to_contain_text('flag_key="degraded"')


def test_a_search_without_a_result_can_be_undone(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("searchbox").fill("no such flag")
    expect(page.locator("tbody tr")).to_have_count(0)
    page.get_by_role("button", name="Show all flags").click()
    expect(page.locator("tbody tr")).to_have_count(len(PHASES))
    expect(page.get_by_role("searchbox")).to_be_focused()


@pytest.mark.parametrize("kind", ["flags", "experiments"])
def test_the_code_that_the_page_shows_makes_a_dag(page: Page, address: str, kind: str) -> None:
    page.goto(address)
    key = 'a "key" with odd characters'
    code = page.evaluate(
        "async ([key, kind]) => (await import('/static/first.js')).code({ key, kind, connection: 'acme' })", [key, kind]
    )
    told: dict[str, Any] = {}
    exec(code, told)
    (task,) = next(value for value in told.values() if isinstance(value, DAG)).tasks
    assert isinstance(task, AmplitudeRampRolloutOperator)
    assert (task.flag_key or task.experiment_key, task.amplitude_conn_id) == (key, "acme")


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_of_the_list_can_be_read(page: Page, address: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto(address)
    page.locator("tbody tr").first.wait_for()
    assert too_faint(page) == []


def test_all_that_can_be_used_is_reached_by_keyboard_and_shows_it(page: Page) -> None:
    with still_page(without_rollouts(["acme"])) as address:
        page.goto(address)
        page.get_by_label("How to start").wait_for()
        reached = []
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    """() => [document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"""
                )
            )
        assert {"INPUT", "SELECT", "PRE", "BUTTON", "A"} <= {tag for tag, _ in reached}
        assert {outline for _, outline in reached} == {"solid"}
