"""A preview before each raise: its time, and its effect."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout import ChangeWindow, PreviewResult, RolloutPlan, RolloutPreview
from airflow_provider_ampexp.rollout._actions import Abort, Action, PreviewRaise, RequestApproval, SetStage, Wait
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._forecast import forecast
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
PREVIEW = RolloutPreview("warehouse", "select amplitude_id, tier from users", refuse_if={"tier": ["enterprise"]})
PLAN = RolloutPlan([1, 5, 25], soak="1h", preview=PREVIEW)
SEEN = RolloutState(
    last_exposure=Exposure(1, enabled=True), preview=PreviewResult(5, "1 % -> 5 %: 40 of 1,000 users enter.")
)


def flag(percentage: int, since: datetime) -> FlagSnapshot:
    exposure = Exposure(percentage, enabled=True)
    entries = [
        VersionEntry(2, since, "Airflow", exposure),
        VersionEntry(1, since - HOUR, "Ana", Exposure(0, enabled=True)),
    ]
    return FlagSnapshot(exposure, history=tuple(entries))


def look(plan: RolloutPlan, state: RolloutState | None = None, since: datetime = NOW - HOUR) -> Action:
    seen = flag(1, since)
    return decide(plan, seen, (state or RolloutState()).after_observation(plan, seen, NOW), NOW)


def test_a_preview_comes_right_before_the_raise_and_once() -> None:
    act = look(PLAN)
    assert isinstance(act, PreviewRaise)
    assert act.percentage == 5
    assert isinstance(look(PLAN, SEEN), SetStage)
    assert isinstance(look(replace(PLAN, preview=None)), SetStage)


def test_a_soak_a_hold_and_a_window_come_before_it() -> None:
    assert isinstance(look(PLAN, since=NOW - HOUR / 2), Wait)
    closed = replace(PLAN, window=ChangeWindow("Sun", "09:00", "10:00", "UTC"))
    assert isinstance(look(closed), Wait)


def test_a_preview_of_another_stage_does_not_count() -> None:
    state = replace(SEEN, preview=PreviewResult(25, "5 % -> 25 %: 200 of 1,000 users enter."))
    assert isinstance(look(PLAN, state), PreviewRaise)


def test_a_preview_from_another_exposure_does_not_count() -> None:
    state = SEEN.after_observation(PLAN, flag(1, NOW), NOW)
    assert state.preview is not None
    assert state.after_observation(PLAN, flag(0, NOW), NOW).preview is None


def test_a_refused_raise_stops_the_rollout() -> None:
    state = replace(SEEN, preview=PreviewResult(5, "", "3 users enter with a refused value of 'tier'"))
    act = look(PLAN, state)
    assert isinstance(act, Abort)
    assert act.cause is AbortCause.REFUSED
    assert act.why == "the preview refuses 5 %: 3 users enter with a refused value of 'tier'"


def test_the_request_for_an_approval_comes_after_the_preview() -> None:
    plan = replace(PLAN, approval=ApprovalPolicy(5))
    assert isinstance(look(plan), PreviewRaise)
    assert isinstance(look(plan, SEEN), RequestApproval)
    refused = replace(SEEN, preview=PreviewResult(5, "", "3 users enter with a refused value of 'tier'"))
    assert isinstance(look(plan, refused), Abort)
    asked = replace(SEEN, asked_at=NOW, preview=None)
    assert isinstance(look(plan, asked), Wait)


def test_the_state_keeps_it_over_a_wait() -> None:
    state = replace(SEEN, preview=PreviewResult(5, "text", "refused"))
    plain = json.loads(json.dumps(state.as_json()))
    assert RolloutState.from_json(plain) == state
    del plain["preview"]
    assert RolloutState.from_json(plain).preview is None


def test_the_rule_of_a_plan_can_end_at_a_percentage() -> None:
    below = replace(PREVIEW, refuse_below=50)
    assert below.at(49).refuse_if == {"tier": ("enterprise",)}
    assert below.at(50).refuse_if == {}
    assert PREVIEW.at(100).refuse_if == {"tier": ("enterprise",)}


def test_a_forecast_needs_no_warehouse() -> None:
    assert [stage.percentage for stage in forecast(PLAN, NOW).stages] == [1, 5, 25]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"conn_id": ""}, "conn_id"),
        ({"sql": " "}, "sql"),
        ({"group_by": "tier"}, "group_by"),
        ({"refuse_if": {"tier": []}}, r"refuse_if\.tier"),
        ({"refuse_if": ["tier"]}, "refuse_if"),
        ({"refuse_if": {"tier": None}}, r"refuse_if\.tier"),
        ({"refuse_if": {"tier": [None]}}, r"refuse_if\.tier\[0\]"),
        ({"refuse_if": {"tier": [["enterprise"]]}}, r"refuse_if\.tier\[0\]"),
        ({"refuse_if": {"tier": {"enterprise": 1}}}, r"refuse_if\.tier"),
        ({"refuse_if": {"": ["enterprise"]}}, "refuse_if: expected a column"),
        ({"refuse_if": {7: ["enterprise"]}}, "refuse_if: expected a column"),
        ({"refuse_below": 101}, "refuse_below"),
        ({"refuse_below": 0}, "refuse_below: expected a percentage from 1 to 100, got 0"),
        ({"refuse_if": {}, "refuse_below": 50}, "refuse_below: is about refuse_if"),
    ],
)
def test_a_wrong_preview_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        replace(PREVIEW, **wrong)


@pytest.mark.parametrize(
    ("preview", "named"),
    [
        ("select 1", "preview: expected a RolloutPreview, got 'select 1'"),
        (replace(PREVIEW, sql="select {{ ds }}"), r"preview\.sql: has a template"),
    ],
)
def test_what_is_no_preview_is_refused_by_the_plan(preview: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        RolloutPlan([1, 5], soak="1h", preview=preview)
