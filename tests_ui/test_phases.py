"""Each phase of a rollout in a real Chromium, in the list and in the detail, without Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from playwright.sync_api import Browser, Page, expect

from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.rollout import GuardrailPolicy, GuardrailStatus, RolloutPlan, parse_stages
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.ui._rollout_tasks import RolloutTask, rollouts_by_flag
from airflow_provider_ampexp.ui._serializers import flag_detail, list_item
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, flag, task, version
from tests_ui.still import still_page

PHASES = ("degraded", "waiting for approval", "held", "paused", "progressing", "rolled back", "done")
THEMES = ("light", "dark")


def _tasks() -> dict[str, RolloutTask]:
    asked_once = GuardrailStatus("errors", GuardrailPolicy(failure_limit=3))
    failing = asked_once.with_result("fail", "4 % of requests fail", 4, NOW)
    failed_once = STATE.after_checks([failing], NOW)
    later = MONDAY + 26 * HOUR
    approved = replace(PLAN, approval=ApprovalPolicy(25))
    back = {"at": NOW.isoformat(), "what": "rollback", "from": 5, "to": 0, "why": "errors (fail 1 of 1): 4 % fail"}
    end = {"at": NOW.isoformat(), "what": "raise", "from": 25, "to": 100}
    ended = replace(task(), rollout_state=None, ended=NOW, until=None)
    asked = replace(STATE, asked_at=NOW)
    return {
        "degraded": task(
            plan=replace(PLAN, checked=True), rollout_state=failed_once, record=failed_once.record, until=later
        ),
        "waiting for approval": task(task_id="approve_25", plan=approved, rollout_state=asked, until=later),
        "held": task(until=later),
        "paused": task(is_paused=True),
        "progressing": task(plan=RolloutPlan(parse_stages([1, 5, 25, 100], "1d")), until=later),
        "rolled back": replace(ended, state="failed", record=(*STATE.record, *_checks(), back)),
        "done": replace(ended, state="success", run_state="success", record=(*STATE.record, end)),
    }


def _checks() -> list[dict[str, Any]]:
    """Two guardrails, asked at two stages; the last answer is a fail."""
    said = [
        (4, 1, "pass", "1 % of requests fail"),
        (8, 1, "inconclusive", "too few requests"),
        (12, 1, "pass", "1.1 %"),
    ]
    said += [(13, 5, "pass", "1.2 %"), (15, 5, "fail", "9 % of requests fail")]
    lines = [(hours, stage, "errors", verdict, why) for hours, stage, verdict, why in said]
    lines += [(12, 1, "latency", "pass", "110 ms"), (15, 5, "latency", "error", "no connection 'warehouse'")]
    return [
        {
            "at": (MONDAY + hours * HOUR).isoformat(),
            "what": "check",
            "stage": stage,
            "name": name,
            "verdict": verdict,
            "why": why,
        }
        for hours, stage, name, verdict, why in lines
    ]


def _answers() -> dict[str, Any]:
    now = MONDAY + 25 * HOUR
    used = {
        "used": {"lists": 1, "histories": 1, "others": 0},
        "used_since": now.isoformat(),
        "read_at": now.isoformat(),
        "now": now.isoformat(),
        "kept_for": 30,
    }
    answers: dict[str, Any] = {"/connections": {"connections": ["acme"]}}
    compared: dict[str, Any] = {"changes": []}
    lines = []
    for number, (phase, of_phase) in enumerate(_tasks().items(), 1):
        tags = ["rollout-hold"] if phase == "held" else []
        percentage = {"rolled back": 0, "done": 100}.get(phase, 5)
        config = flag(percentage, id=str(number), key=phase.replace(" ", "-"), tags=tags)
        config |= {"lastModifiedAt": NOW.isoformat(), "lastModifiedBy": "Airflow"}
        versions = [*VERSIONS, version(4, NOW, **config)]
        rollouts = rollouts_by_flag([replace(of_phase, flag_id=str(number))])[("acme", "flags", str(number))]
        lines.append(list_item("flags", config, "", rollouts, now))  # type: ignore[arg-type]
        answers[f"/connections/acme/flags/{number}"] = {
            **used,
            **flag_detail("flags", str(number), versions, "", rollouts, now),
        }
        answers[f"/connections/acme/flags/{number}/compare"] = compared
    return {**answers, "/connections/acme/flags": {"flags": lines, **used}}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with still_page(_answers()) as address:
        yield address


def _without_rollouts(connections: list[str]) -> dict[str, Any]:
    """An Airflow in which nobody has made a rollout."""
    answers = _answers()
    told = answers["/connections/acme/flags"]
    told["flags"] = [{**line, "rollout": None} for line in told["flags"]]
    answers["/connections/acme/flags/1"]["rollout"] = None
    return {**answers, "/connections": {"connections": connections}}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    yield page
    page.close()


_TOO_FAINT = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = element => !element.parentElement || parts(getComputedStyle(element).backgroundColor)[3] !== 0
    ? element : ground(element.parentElement);
  const contrast = element => {
    const a = light(parts(getComputedStyle(element).color));
    const b = light(parts(getComputedStyle(ground(element)).backgroundColor));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = [...document.querySelectorAll("body *")].filter(element => element.checkVisibility()
    && [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  if (texts.length < 20) return ["too few texts"];
  return texts.filter(element => contrast(element) < 4.5).map(element => element.outerHTML.slice(0, 100));
}"""


def _too_faint(page: Page) -> list[str]:
    """The texts whose contrast against their ground is less than 4.5, as WCAG counts it."""
    return list(page.evaluate(_TOO_FAINT))


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
    stands = page.get_by_label("Where it stands")
    expect(stands.locator(":scope > *").first).to_contain_text(phase)
    expect(stands.locator("dt")).to_contain_text(["Why", "Next"] if phase == "paused" else ["Why", "Since", "Next"])
    sign = page.locator(".phase").first.evaluate("one => getComputedStyle(one, '::before').content")
    assert len(sign.split("/")[0].strip(' "')) == 1  # the colour is not the only carrier
    assert _too_faint(page) == []


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
    with still_page(_without_rollouts([])) as address:
        page.goto(address)
        start = page.get_by_label("How to start")
        expect(start).to_contain_text("No connection of the type Amplitude Experiment")
        expect(start.get_by_role("link", name="Connections")).to_have_attribute("href", "../connections")
        expect(page.locator("tbody")).to_have_count(0)


def test_an_airflow_without_a_rollout_is_shown_how_to_make_the_first(page: Page) -> None:
    with still_page(_without_rollouts(["acme"])) as address:
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
    (task,) = next(one for one in told.values() if isinstance(one, DAG)).tasks
    assert isinstance(task, AmplitudeRampRolloutOperator)
    assert (task.flag_key or task.experiment_key, task.amplitude_conn_id) == (key, "acme")


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_of_the_list_can_be_read(page: Page, address: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.goto(address)
    page.locator("tbody tr").first.wait_for()
    assert _too_faint(page) == []


def test_all_that_can_be_used_is_reached_by_keyboard_and_shows_it(page: Page) -> None:
    with still_page(_without_rollouts(["acme"])) as address:
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
