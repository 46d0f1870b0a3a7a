"""The time limit of holds by guardrails, and the preflight of guardrails before the first raise."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout import GuardrailPolicy, RolloutPlan
from airflow_provider_ampexp.rollout._actions import Abort, Action, Preflight, RollBack, RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._forecast import forecast
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState

T0 = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
PLAN = RolloutPlan(parse_stages([1, 5, 25], soak=HOUR), checked=True, rollback="off", hold_timeout=3 * HOUR)
AT_1 = Exposure(1, enabled=True)
STANDS = FlagSnapshot(
    AT_1, history=(VersionEntry(2, T0, "Airflow", AT_1), VersionEntry(1, T0 - HOUR, "Seed", Exposure(0, enabled=False)))
)


def answered(state: RolloutState, verdict: Any, hours: float) -> RolloutState:
    """Return the state after a result of the only guardrail, whose effect is a hold."""
    (streak,) = state.statuses or (GuardrailStatus("errors", GuardrailPolicy(effect="hold")),)
    now = T0 + hours * HOUR
    return state.after_checks([streak.with_result(verdict, "9 % fail", None, now)], now)


def held(*hours: float, plan: RolloutPlan = PLAN) -> RolloutState:
    """Return the state after holds by the guardrail at these hours."""
    state = RolloutState().after_observation(plan, STANDS, T0)
    for hour in hours:
        state = answered(state, "fail", hour)
    return state


def act(state: RolloutState, hours: float, plan: RolloutPlan = PLAN) -> Action:
    return decide(plan, STANDS, state, T0 + hours * HOUR)


def test_a_hold_ends_after_its_limit_from_the_first_answer_on() -> None:
    assert isinstance(act(held(1, 3.9), 3.95), Wait)
    last = act(held(1, 4), 4)
    assert isinstance(last, Abort)
    assert last.cause == "held"
    assert "the guardrails have held the rollout for 3 hours (errors" in last.why


def test_before_a_hold_ends_the_guardrails_are_asked_once_more() -> None:
    state = held(1, 3.99)
    wait = act(state, 3.995)
    assert isinstance(wait, Wait)
    assert wait.until == T0 + 4 * HOUR
    assert isinstance(act(state, 4), RunGuardrails)
    assert isinstance(act(answered(state, "pass", 4), 4), SetStage)


def test_a_hold_that_ends_may_roll_back() -> None:
    plan = replace(PLAN, on_hold_timeout="rollback")
    back = act(held(1, 4, plan=plan), 4, plan)
    assert isinstance(back, RollBack)
    assert back.to == Exposure(0, enabled=False)


def test_a_pass_ends_a_hold_and_an_answer_that_cannot_tell_does_not() -> None:
    passed = answered(answered(held(1), "pass", 2), "fail", 3)
    assert isinstance(act(passed, 4), RunGuardrails)
    assert isinstance(act(answered(passed, "fail", 4), 4), Wait)
    doubtful = answered(answered(held(1), "error", 2), "fail", 4)
    assert isinstance(act(doubtful, 4), Abort)


def test_a_hold_counts_at_one_stage() -> None:
    state = held(1, 2).after_set_stage(AT_1, T0, Exposure(5, enabled=True), STANDS, T0 + 3 * HOUR)
    assert state.held_since is None


def test_without_a_limit_a_hold_lasts() -> None:
    plan = replace(PLAN, hold_timeout=None)
    assert isinstance(act(held(1, 999, plan=plan), 999, plan), Wait)


def test_a_hold_has_a_limit_of_a_day_unless_told_otherwise() -> None:
    plan = RolloutPlan(parse_stages([1, 5], soak=HOUR), checked=True)
    assert (plan.hold_timeout, plan.on_hold_timeout) == (timedelta(hours=24), "stop")
    assert RolloutPlan.from_json(PLAN.as_json()) == PLAN
    assert RolloutPlan.from_json({**PLAN.as_json(), "hold_timeout": None}).hold_timeout is None
    old = {name: value for name, value in plan.as_json().items() if "hold_timeout" not in name}
    assert RolloutPlan.from_json(old) == plan


def test_what_is_remembered_of_a_hold_outlives_a_deferral() -> None:
    state = held(1, 2)
    assert RolloutState.from_json(state.as_json()).held_since == T0 + HOUR
    old = {name: value for name, value in state.as_json().items() if name not in ("held_since", "preflight_owed")}
    assert RolloutState.from_json(old).held_since is None


@pytest.mark.parametrize("wrong", [{"hold_timeout": timedelta(0)}, {"on_hold_timeout": "off"}, {"preflight": 1}])
def test_what_is_wrong_is_named(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        replace(PLAN, **wrong)


def test_a_persons_hold_has_no_limit() -> None:
    seen = replace(STANDS, tags=("rollout-hold",))
    state = answered(RolloutState().after_observation(PLAN, seen, T0), "pass", 999)
    assert isinstance(decide(PLAN, seen, state, T0 + 999 * HOUR), Wait)
    assert state.held_since is None


def test_a_preflight_comes_before_the_first_raise_only() -> None:
    off = FlagSnapshot(Exposure(0, enabled=False), history=STANDS.history[1:])
    owed = RolloutState(preflight_owed=True)
    assert isinstance(decide(PLAN, off, owed, T0), Preflight)
    assert isinstance(decide(PLAN, off, replace(owed, preflight_owed=False), T0), SetStage)
    assert isinstance(
        decide(PLAN, STANDS, owed, T0 + HOUR), RunGuardrails
    )  # the flag is at a stage, so a check comes first
    assert RolloutState.from_json(owed.as_json()).preflight_owed is True


def test_a_rollout_that_a_person_holds_has_no_forecast() -> None:
    """The computation of such a forecast once did not end."""
    tagged = replace(STANDS, tags=(PLAN.hold_tag,))
    with pytest.raises(InvalidInputError, match="a person holds the rollout"):
        forecast(PLAN, T0 + 2 * HOUR, tagged)
