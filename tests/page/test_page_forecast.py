"""The earliest time of each remaining stage and of the end, in the detail of a flag."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_ampexp.client.types import Version
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, Stage
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._rollout_tasks import RolloutTask
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, detail, flag, task, version

AT_ZERO = [version(1, MONDAY - HOUR, "Maria", **flag(0, False))]


def ahead(shown: RolloutTask, versions: list[Version] = VERSIONS, **more: Any) -> tuple[Any, Any]:
    rollout = detail(shown, versions=versions, **more)["rollout"]
    return rollout["ahead"], rollout["end"]


def at(hours: float) -> str:
    return (MONDAY + hours * HOUR).isoformat()


def test_during_a_soak_the_times_follow_from_its_start() -> None:
    assert ahead(task()) == ([[25, at(24)], [100, at(36)]], at(36))


def test_before_the_first_raise_each_stage_and_the_end_have_their_earliest_time() -> None:
    """The window opens on Tuesday, and each soak of 12 h ends after it has closed."""
    plan = replace(PLAN, window=ChangeWindow("Tue-Thu", "09:00", "12:00", "UTC"), checked=True)
    waiting = task(plan=plan, rollout_state=RolloutState(), record=())
    stages, end = ahead(waiting, AT_ZERO, now=MONDAY)
    assert stages == [
        [1, "2026-03-03T09:00:00+00:00"],
        [5, "2026-03-04T09:00:00+00:00"],
        [25, "2026-03-05T09:00:00+00:00"],
        [100, "2026-03-10T09:00:00+00:00"],
    ]
    assert end == "2026-03-10T09:00:00+00:00"


def test_the_stages_of_the_plan_have_the_same_times() -> None:
    plan = detail(task())["rollout"]["plan"]
    assert [stage["starts"] for stage in plan] == [None, None, at(24), at(36)]


def test_the_request_for_an_approval_shows_the_times_of_an_answer_now() -> None:
    asked = replace(STATE, asked_at=MONDAY + 24 * HOUR)
    waiting = task(plan=replace(PLAN, approval=ApprovalPolicy(25)), rollout_state=asked, until=MONDAY + 30 * HOUR)
    assert ahead(waiting, now=MONDAY + 25 * HOUR) == ([[25, at(25)], [100, at(37)]], at(37))


def test_the_last_stage_has_an_end() -> None:
    plan = RolloutPlan([*PLAN.all_stages[:3], Stage(100, "12h")])
    versions = [*VERSIONS, version(4, NOW, **flag(100))]
    last = task(plan=plan, rollout_state=None, state="running")
    assert ahead(last, versions, now=NOW + HOUR) == ([], at(27))


@pytest.mark.parametrize(
    "held",
    [
        task(until=NOW + HOUR),
        task(state="running", rollout_state=None),
        task(plan=replace(PLAN, window=ChangeWindow("Tue", "09:00", "12:00", "UTC"))),
    ],
)
def test_a_person_who_holds_the_rollout_leaves_no_time_known(held: RolloutTask) -> None:
    tagged = [*VERSIONS, version(4, NOW, **flag(5, tags=["rollout-hold"]))]
    later = replace(held, until=NOW + timedelta(days=1))
    assert ahead(later, tagged, now=NOW + 10 * HOUR) == ([[25, None], [100, None]], None)


def test_a_window_that_never_opens_leaves_no_time_known() -> None:
    mondays = [(MONDAY + timedelta(weeks=week)).date() for week in range(60)]
    never = ChangeWindow("Mon", "09:00", "12:00", "UTC", mondays)
    waiting = task(plan=replace(PLAN, window=never), until=NOW + timedelta(days=1))
    assert ahead(waiting, now=MONDAY + 20 * HOUR) == ([[25, None], [100, None]], None)


def test_a_rollout_that_is_over_has_nothing_ahead() -> None:
    assert ahead(task(state="failed", rollout_state=None, record=())) == ([], None)
