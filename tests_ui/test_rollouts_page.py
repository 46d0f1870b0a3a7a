"""The Rollouts page in a real Chromium. The tests also write the pictures of the documentation: check them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from conftest import Window
from playwright.sync_api import BrowserContext, expect

from airflow_provider_ampexp.emulator.control import Emulator
from tests_ui.world import CONNECTION, EVIL, FLAGS, Airflow, flag_of, wait_until

THEMES = ("light", "dark")


def test_it_is_in_the_navigation(window: Window, airflow: Airflow) -> None:
    window.page.goto(airflow.address)
    window.page.get_by_role("link", name="Rollouts").click()
    expect(window.frame.get_by_role("heading", name="Rollouts", level=1)).to_be_visible()


def test_a_viewer_reads_a_sentence(viewer: BrowserContext, airflow: Airflow) -> None:
    window = Window(viewer)
    window.page.goto(f"{airflow.address}/plugin/rollouts")
    expect(window.frame.locator("body")).to_contain_text("needs the right to read connections")
    window.page.evaluate("localStorage.setItem('theme', 'dark')")
    window.page.reload()
    expect(window.frame.locator("html[data-theme=dark] .problem")).to_be_visible()
    assert window.errors == [error for error in window.errors if "403" in error]  # the browser's own message
    window.page.evaluate("localStorage.removeItem('theme')")
    window.page.close()


def test_a_thousand_flags_are_searched_filtered_and_sorted(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    status, rows = window.frame.get_by_role("status").first, window.frame.locator("tbody tr")
    expect(status).to_contain_text(f"{FLAGS + 1} of {FLAGS + 1}")
    # At first the page creates only the visible rows, so a thousand are as fast as a hundred. Scrolling creates more.
    assert 100 <= rows.count() <= 200
    for already in (150, 250):
        window.frame.locator(".end").scroll_into_view_if_needed()
        expect(rows.nth(already)).to_be_attached()
    window.frame.get_by_role("searchbox").fill("billing 00")
    expect(status).to_contain_text(re.compile(r"^1\d of"))
    window.frame.get_by_role("searchbox").fill("")
    window.frame.get_by_label("Kind").select_option("experiments")
    expect(rows).to_have_count(1)
    window.frame.get_by_label("Kind").select_option("")
    window.frame.get_by_label("Rollout", exact=True).select_option("progressing")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("stage 3 of 4")
    window.frame.get_by_label("Rollout", exact=True).select_option("")
    window.frame.get_by_role("button", name="Flag or experiment").click()
    expect(rows.first).to_contain_text("<script>")
    window.frame.get_by_role("button", name="Flag or experiment").click()
    expect(rows.first).to_contain_text("search-")


def test_it_is_usable_by_keyboard(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.frame.locator("main").focus()
    window.page.keyboard.press("/")
    window.page.keyboard.type("new-checkout")
    expect(window.frame.locator("tbody tr")).to_have_count(1)
    link = window.frame.get_by_role("link", name="new-checkout")
    for _ in range(12):
        window.page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    window.page.keyboard.press("Enter")
    expect(window.frame.get_by_role("heading", name="new-checkout")).to_be_visible()


def test_the_detail_of_a_rollout_tells_where_it_stands(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.detail("new-checkout")
    stand = window.frame.get_by_label("State of the flag")
    expect(stand.get_by_role("paragraph").first).to_have_text(re.compile("^progressingSoakingStage 3 of 4$"))
    expect(stand.get_by_role("listitem")).to_have_text(
        ["25 %of all users outside segments", "100 %of segment Beta testers"]
    )
    expect(stand).to_contain_text(re.compile(r"Since.*UTC, for 5 h"))
    expect(stand).to_contain_text(re.compile(r"Next100 % in 6 h \d+ min, at .* at the earliest"))
    stages = window.frame.get_by_label("Stages of the plan").locator(":scope > li")
    expect(stages).to_have_text([re.compile(r"✓ 1 %"), re.compile("✓ 5 %"), re.compile("● 25 %"), re.compile("100 %")])
    expect(stages.nth(1)).to_contain_text(re.compile(r"error rate passed.*3 of 3 checks passed"))
    expect(stages.nth(2)).to_contain_text("Next check in")
    chart = window.frame.get_by_role("img", name=re.compile("Percentage over time"))
    expect(chart).to_have_attribute("aria-label", re.compile(r"to 25 % by Airflow.*planned: 100 %"))
    expect(window.frame.locator(".key")).to_contain_text("guardrail passed")
    expect(window.frame.get_by_label("Variants and segments")).to_contain_text("3")
    history = window.frame.get_by_label("History")
    expect(history).to_contain_text("rolloutPercentage 5 → 25")
    expect(history.get_by_role("row").nth(1)).to_contain_text("Maria")  # the actor of the description's edit


def test_the_detail_after_a_rollback_tells_why(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.detail("instant-search")
    stand = window.frame.get_by_label("State of the flag")
    expect(stand).to_contain_text("Disabled")
    expect(stand.get_by_role("paragraph").first).to_contain_text("rolled back")
    expect(stand).to_contain_text("4.7 % of requests fail; 2 % may")
    expect(window.frame.get_by_label("Stages of the plan")).to_contain_text("rolled back from here")
    compare = window.frame.get_by_label("Compare versions")
    expect(compare.get_by_role("row")).to_have_count(3)
    window.frame.get_by_label("First version").select_option("1")
    expect(compare).to_contain_text("description")


def test_a_picture_is_saved(window: Window, airflow: Airflow, tmp_path: Path) -> None:
    window.open(airflow.address)
    window.detail("instant-search")
    with window.page.expect_download() as download:
        window.frame.get_by_role("button", name="Save as picture").click()
    assert download.value.suggested_filename == "instant-search.png"
    download.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_links_lead_out_of_the_frame(window: Window, airflow: Airflow, admin: BrowserContext) -> None:
    window.open(airflow.address)
    window.detail("new-checkout")
    link = window.frame.get_by_role("link", name="Open in Amplitude")
    with admin.expect_page() as opened:
        link.click()
    assert "/amplitude/100001/config/" in opened.value.url
    opened.value.close()
    window.frame.get_by_role("link", name="Task ramp").click()
    window.page.wait_for_url("**/dags/release_new_checkout/runs/*/tasks/ramp")
    expect(window.page.get_by_text("ramp").first).to_be_visible()


def test_an_approval_is_one_click_away(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.detail("quick-filters")
    window.frame.get_by_role("link", name="Approve or reject").click()
    window.page.wait_for_url("**/tasks/rollout.approve_50/required_actions")
    expect(window.page.get_by_text("Go to 50 %").first).to_be_visible()


def test_what_a_flag_says_does_no_harm(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.detail(EVIL)
    expect(window.frame.locator(".description")).to_contain_text("long long")
    assert window.frame.locator("main script, main img").count() == 0
    frame = window.page.locator("iframe").element_handle().content_frame()
    assert frame is not None
    assert frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # nothing is too wide
    # The fixture checks at its end that there was no dialog.


def test_the_footer_agrees_with_the_service(window: Window, airflow: Airflow, emulator: Emulator) -> None:
    window.open(airflow.address)
    for _ in range(5):
        window.page.reload()
        window.frame.locator("tbody tr").first.wait_for()
    footer = window.frame.locator(f"footer [data-connection={CONNECTION}]")
    expect(footer).to_contain_text("kept for 30 s")
    # Tasks find a flag by its key, and triggers need one project.
    lists = [
        request
        for request in emulator.request_log()
        if request["path"] in ("/api/1/flags", "/api/1/experiments")
        and not {"key", "projectId"}
        & set(parse_qs(str(request["query"])) if isinstance(request["query"], str) else request["query"])
    ]
    assert int(footer.get_attribute("data-lists") or 0) == len(lists)


@pytest.fixture
def own_connections(airflow: Airflow) -> Iterator[None]:
    """Remove the connections of a test after it."""
    yield
    for connection in airflow.call("GET", "/api/v2/connections")["connections"]:
        airflow.call("DELETE", f"/api/v2/connections/{connection['connection_id']}")


def test_the_connection_form(
    window: Window, airflow: Airflow, emulator: Emulator, images: Path, own_connections: None
) -> None:
    images.mkdir(exist_ok=True)
    for theme in THEMES:
        window.page.set_viewport_size({"width": 1200, "height": 1220})
        window.page.goto(f"{airflow.address}/connections")
        window.page.evaluate("name => localStorage.setItem('theme', name)", theme)
        window.page.reload()
        window.page.get_by_role("button", name="Add Connection").click()
        form = window.page.get_by_role("dialog")
        form.locator("input[name=connection_id]").fill(f"amplitude_{theme}")
        form.get_by_role("combobox").first.click()
        window.page.keyboard.type("Amplitude")
        form.get_by_role("option", name="Amplitude Experiment").click()
        form.locator("input[name=password]").fill(emulator.api_key)
        form.get_by_role("button", name="Extra Fields", exact=True).click()
        form.get_by_role("combobox").nth(1).click()  # the region is a choice
        expect(form.get_by_role("option")).to_have_text(["us", "eu"])
        form.get_by_role("option", name="eu").click()
        for said in (
            "Where the organisation",
            "Seconds to wait for one answer",
            "Seconds for which a call may be retried",
        ):
            expect(form).to_contain_text(said)
        form.locator("[name=element_project_id]").fill("100001")
        form.locator("[name=element_base_url]").fill(emulator.base_url)
        form.locator("[name=element_timeout]").fill("20")
        window.page.keyboard.press("Tab")
        window.page.screenshot(path=images / f"connection-form-{theme}.png")
        form.get_by_role("button", name="Save").click()
        expect(form).to_be_hidden()
        # Airflow 3.3.2 does not test a stored connection without a port (its bug 73298), so this connection has a port.
        connection = {"connection_id": f"amplitude_{theme}", "conn_type": "amplitude_experiment", "port": 0}
        airflow.call("PATCH", f"/api/v2/connections/amplitude_{theme}?update_mask=port", connection)
        window.page.reload()
        row = window.page.get_by_role("row").filter(has_text=f"amplitude_{theme}")
        row.get_by_role("button", name="Test Connection").click()
        expect(window.page.get_by_text("accepts the key, which sees 2 deployments in 1 project")).to_be_visible()


def test_a_detail_can_be_linked_to(window: Window, airflow: Airflow) -> None:
    window.open(airflow.address)
    window.detail("new-checkout")
    window.page.goto(window.page.url)
    window.page.reload()
    expect(window.frame.get_by_role("heading", name="new-checkout", level=1)).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_for_the_documentation(window: Window, airflow: Airflow, images: Path, theme: str) -> None:
    images.mkdir(exist_ok=True)
    window.open(airflow.address)
    window.theme(theme)
    window.page.screenshot(path=images / f"rollouts-list-{theme}.png")
    window.page.set_viewport_size({"width": 1440, "height": 1240})
    for key, name in (("new-checkout", "third-stage"), ("instant-search", "rolled-back")):
        window.open(airflow.address)
        window.detail(key)
        window.page.mouse.move(0, 0)
        window.page.screenshot(path=images / f"rollouts-detail-{name}-{theme}.png")


def test_a_click_does_what_the_page_says(window: Window, airflow: Airflow, emulator: Emulator) -> None:
    window.open(airflow.address)
    window.detail("quick-filters")
    phase = window.frame.get_by_label("State of the flag").get_by_role("paragraph").first
    expect(phase).to_contain_text("waiting for approval")
    task = "rollout.approve_50"
    said = window.frame.get_by_role("row", name=f"Mark {task} as failed")
    expect(said).to_contain_text("The rollback task lowers the flag from 1 % to 0 % (disabled) and reads that back.")
    (run,) = airflow.call("GET", "/api/v2/dags/release_quick_filters/dagRuns")["dag_runs"]
    of_run = f"/api/v2/dags/release_quick_filters/dagRuns/{run['dag_run_id']}"
    airflow.call("PATCH", f"{of_run}/taskInstances/{task}", {"new_state": "failed"})

    def stands() -> tuple[int, bool]:
        flag = flag_of(emulator, "quick-filters")
        return flag["rolloutPercentage"], flag["enabled"]

    wait_until(lambda: stands() == (0, False), "the rollback task lowers the flag")
    expect(phase).to_contain_text("rolled back")  # the page reads the flag again after 30 s at most
    whole = window.frame.get_by_role("row", name="Clear the whole group")
    expect(whole).to_contain_text("sets 1 %")


def test_nothing_was_written(airflow: Airflow, emulator: Emulator) -> None:
    # All of this only read the rollout, so the flag has the same percentage as before.
    flag = flag_of(emulator, "new-checkout")
    assert (flag["enabled"], flag["rolloutPercentage"]) == (True, 25)
