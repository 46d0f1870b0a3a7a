"""A stage that needs an approval: the decisions during the wait for the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    RequestApproval,
    RollBack,
    RunGuardrails,
    SetStage,
    Wait,
)
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, GuardrailStatus
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, ApprovalResponse
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
STAGES = parse_stages([1, 5, 25, 100], soak="1h")
DAY = timedelta(days=1)


def flag(*percentages: int) -> FlagSnapshot:
    """Return a flag that this task raised to these percentages, an hour apart, the last one two hours ago."""
    entries = [
        VersionEntry(
            number + 1,
            NOW - timedelta(hours=1 + len(percentages) - number),
            "Airflow",
            Exposure(percentage, percentage > 0),
        )
        for number, percentage in enumerate(percentages)
    ]
    return FlagSnapshot(Exposure(percentages[-1], percentages[-1] > 0), history=tuple(reversed(entries)))


def waiting(on_reject: str = "rollback", on_no_answer: str = "hold", *, checked: bool = False) -> RolloutPlan:
    approval = ApprovalPolicy(25, DAY, on_reject, on_no_answer)  # type: ignore[arg-type]
    return RolloutPlan(STAGES, checked=checked, approval=approval)


def look(plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, later: timedelta = timedelta(0)) -> Action:
    return decide(plan, seen, state, NOW + later)


def asked(plan: RolloutPlan, seen: FlagSnapshot) -> RolloutState:
    state = RolloutState(run_began=NOW - timedelta(hours=10)).after_observation(plan, seen, NOW)
    return replace(state, asked_at=NOW)


def said(state: RolloutState, verdict: str, at: datetime = NOW) -> RolloutState:
    return state.after_checks([GuardrailStatus("errors", GuardrailPolicy()).with_result(verdict, "", None, at)], at)  # type: ignore[arg-type]


def test_a_person_is_asked_once_and_not_before_the_guardrails_pass() -> None:
    plan, seen = waiting(), flag(0, 1, 5)
    fresh = replace(asked(plan, seen), asked_at=None)
    assert isinstance(look(plan, seen, fresh), RequestApproval)
    assert isinstance(look(plan, seen, asked(plan, seen)), Wait)
    checked = waiting(checked=True)
    assert isinstance(look(checked, seen, fresh), RunGuardrails)
    assert isinstance(look(checked, seen, said(fresh, "inconclusive")), Wait)
    assert isinstance(look(checked, seen, said(fresh, "pass")), RequestApproval)


def test_nothing_is_raised_before_somebody_approves() -> None:
    plan, seen = waiting(), flag(0, 1, 5)
    act = look(plan, seen, asked(plan, seen))
    assert isinstance(act, Wait)
    assert act.why == "no answer to the request for approval yet; next stage 25 %"
    assert act.until == NOW + timedelta(hours=12)
    assert look(plan, seen, asked(plan, seen), timedelta(hours=20)).until == NOW + DAY  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("on_reject", "expected"), [("rollback", RollBack(Exposure(0, False), "")), ("hold", Abort("rejected", ""))]
)
def test_a_rejection(on_reject: str, expected: Action) -> None:
    plan, seen = waiting(on_reject), flag(0, 1, 5)
    state = replace(asked(plan, seen), response=ApprovalResponse(False, "eve"))
    assert look(plan, seen, state) == replace(expected, why="eve rejected 25 %")


@pytest.mark.parametrize(
    ("on_no_answer", "expected"), [("rollback", RollBack(Exposure(0, False), "")), ("hold", Abort("no answer", ""))]
)
def test_no_answer_is_another_thing_than_a_rejection(on_no_answer: str, expected: Action) -> None:
    plan, seen = waiting("rollback" if on_no_answer == "hold" else "hold", on_no_answer), flag(0, 1, 5)
    why = "no answer within 1 day to the request to approve 25 %"
    assert look(plan, seen, asked(plan, seen), DAY) == replace(expected, why=why)
    assert isinstance(look(plan, seen, asked(plan, seen), DAY - timedelta(seconds=1)), Wait)


def test_an_approval_ends_the_waiting_and_raises_nothing_here() -> None:
    plan, seen = waiting(), flag(0, 1, 5)
    state = replace(asked(plan, seen), response=ApprovalResponse(True, "eve"))
    assert look(plan, seen, state) == Complete("eve approved 25 %")


def test_what_is_reached_already_needs_none() -> None:
    plan, seen = waiting(), flag(0, 1, 5, 25)
    assert isinstance(look(plan, seen, asked(plan, seen)), Complete)


def test_guardrails_go_on_while_it_waits_and_a_fail_ends_the_waiting() -> None:
    plan, seen = waiting(checked=True), flag(0, 1, 5)
    fresh = asked(plan, seen)
    assert isinstance(look(plan, seen, fresh), RunGuardrails)
    passed = said(fresh, "pass")
    act = look(plan, seen, passed)
    assert isinstance(act, Wait)
    assert act.until == NOW + plan.recheck
    assert isinstance(look(plan, seen, passed, plan.recheck), RunGuardrails)
    assert look(plan, seen, said(passed, "fail")).to == Exposure(0, False)  # type: ignore[union-attr]
    # A fail counts also if a person has approved.
    approved = replace(said(passed, "fail"), response=ApprovalResponse(True, "eve"))
    assert isinstance(look(plan, seen, approved), RollBack)


def test_a_stage_of_its_own_asks_the_guardrails_before_it_raises() -> None:
    plan, seen = RolloutPlan(STAGES, checked=True, only=25), flag(0, 1, 5)
    state = RolloutState(run_began=NOW - timedelta(hours=10)).after_observation(plan, seen, NOW)
    assert isinstance(look(plan, seen, state), RunGuardrails)
    assert isinstance(look(plan, seen, said(state, "pass")), SetStage)
    assert isinstance(look(plan, seen, said(state, "fail")), RollBack)
    # A stage that the flag has passed needs no check.
    assert isinstance(look(replace(plan, only=1), seen, state), Complete)


@pytest.mark.parametrize("percentages", [(0,), (0, 1)])
def test_a_stage_of_its_own_goes_over_nobodys_head(percentages: tuple[int, ...]) -> None:
    plan, seen = RolloutPlan(STAGES, only=25), flag(*percentages)
    act = look(plan, seen, RolloutState(run_began=NOW - timedelta(hours=10)))
    assert isinstance(act, Abort)
    assert act.cause == "predecessor not set"
    assert "stage 5 % is not set, and it must be set before stage" in act.why


def test_a_last_stage_that_does_not_soak_is_not_checked() -> None:
    """Right after the raise there are no data, and an inconclusive check would roll back."""
    seen = flag(0, 1, 5, 25, 100)
    state = RolloutState().after_observation(RolloutPlan(STAGES, checked=True), seen, NOW)
    assert isinstance(look(RolloutPlan(STAGES, checked=True), seen, state), Complete)
    soaking = RolloutPlan(parse_stages([1, {"percentage": 100, "soak": "1h"}]), checked=True)
    assert isinstance(look(soaking, seen, state), RunGuardrails)
    # An earlier stage is checked also without a soak, because more users follow.
    assert isinstance(look(RolloutPlan(parse_stages([1, 5]), checked=True), flag(0, 1), RolloutState()), RunGuardrails)


def test_a_rollback_that_an_attempt_left_undone_is_finished_first() -> None:
    plan, seen = RolloutPlan(STAGES, checked=True), flag(0, 1, 5)
    state = RolloutState(run_began=NOW - timedelta(hours=10), is_retry=True, rollback_reason="errors (fail 1 of 1)")
    assert look(plan, seen, state) == RollBack(Exposure(0, False), "errors (fail 1 of 1)")
    assert isinstance(look(plan, flag(0, 1, 5, 0), state), Abort)  # the rollback was applied


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("on_reject", lambda: ApprovalPolicy(25, on_reject="stop")),
        ("on_no_answer", lambda: ApprovalPolicy(25, on_no_answer="")),
        ("approval_timeout", lambda: ApprovalPolicy(25, timedelta(0))),
        ("approve_before", lambda: RolloutPlan(STAGES, approval=ApprovalPolicy(50))),
    ],
)
def test_what_is_refused(name: str, make: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        make()  # type: ignore[operator]
