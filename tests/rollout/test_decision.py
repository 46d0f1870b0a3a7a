"""The rules of a rollout, case by case: the observation, and the next action."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client.types import Version
from airflow_provider_ampexp.rollout import ChangeWindow, GuardrailPolicy, LiftInterval, RolloutPlan
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    RollBack,
    RunGuardrails,
    SetStage,
    Wait,
    describe,
)
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._duration import interval, parse_duration
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    FlagSnapshot,
    VersionEntry,
    observed_at,
    read_history,
)
from airflow_provider_ampexp.rollout._own_steps import began_after_a_clear
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import RecordKind, Verdict

T0 = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
PLAN = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR))
CHECKED = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR), checked=True)
OFF = replace(PLAN, rollback="off")  # this rollback needs no history


def on(percentage: float) -> Exposure:
    return Exposure(percentage, enabled=True)


def off(percentage: float) -> Exposure:
    return Exposure(percentage, enabled=False)


def flag(*steps: tuple[float, Exposure] | tuple[float, Exposure, str], archived: bool = False) -> FlagSnapshot:
    """Return a flag with these versions: hours after T0, exposure, and the actor if it is not the rollout's key."""
    entries = [
        VersionEntry(number, T0 + HOUR * step[0], step[2] if len(step) > 2 else "Airflow", step[1])  # type: ignore[misc]
        for number, step in enumerate(steps, 1)
    ]
    return FlagSnapshot(steps[-1][1], archived, tuple(reversed(entries)))


def at(hours: float) -> datetime:
    return T0 + HOUR * hours


def look(plan: RolloutPlan, seen: FlagSnapshot, hours: float, state: RolloutState | None = None) -> Action:
    return decide(plan, seen, state or RolloutState(), at(hours))


def remembered(plan: RolloutPlan, seen: FlagSnapshot, hours: float, state: RolloutState | None = None) -> RolloutState:
    return (state or RolloutState()).after_observation(plan, seen, at(hours))


def until(act: Action) -> datetime:
    assert isinstance(act, Wait), act
    return act.until


def raised_to(act: Action) -> int:
    assert isinstance(act, SetStage), act
    return act.stage.percentage


# the exposure at the start


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [(off(0), 1), (on(0), 1), (off(50), 1), (on(0.5), 1)],
)
def test_before_its_first_stage_that_is_set_at_once(exposure: Exposure, expected: int) -> None:
    assert raised_to(look(PLAN, flag((0, exposure)), 0)) == expected


@pytest.mark.parametrize(("exposure", "expected"), [(on(3), 5), (on(5.5), 25), (on(26), 100)])
def test_between_stages_it_soaks_and_is_checked_before_the_next_above_is_set(exposure: Exposure, expected: int) -> None:
    """A percentage that a person or an earlier plan set has not yet soaked or passed a check."""
    assert until(look(PLAN, flag((0, exposure)), 0.5)) == at(1)
    assert raised_to(look(PLAN, flag((0, exposure)), 1)) == expected
    assert isinstance(look(CHECKED, flag((0, exposure)), 1), RunGuardrails)


def test_on_a_stage_it_soaks_and_then_goes_on_from_there() -> None:
    seen = flag((0, off(0)), (1, on(5)))
    assert until(look(PLAN, seen, 1.5)) == at(2)
    assert raised_to(look(PLAN, seen, 2)) == 25


def test_beyond_the_last_stage_nothing_is_left_to_do() -> None:
    plan = RolloutPlan(parse_stages([1, 5]))
    assert isinstance(look(plan, flag((0, on(50))), 0), Complete)


def test_the_last_stage_soaks_only_when_it_says_so() -> None:
    seen = flag((0, on(100)))
    assert isinstance(look(PLAN, seen, 0), Complete)
    own = RolloutPlan(parse_stages([1, {"percentage": 100, "soak": "1h"}]))
    assert isinstance(look(own, seen, 0.5), Wait)
    assert isinstance(look(own, seen, 1), Complete)


def test_a_disabled_flag_is_left_when_it_must_not_be_enabled() -> None:
    act = look(RolloutPlan(parse_stages([1]), enable=False), flag((0, off(0))), 0)
    assert isinstance(act, Abort)
    assert act.cause == "disabled"


def test_an_archived_flag_stops() -> None:
    act = look(PLAN, flag((0, on(1)), archived=True), 0)
    assert isinstance(act, Abort)
    assert act.cause == "archived"


# the start of the soak


def test_a_soak_counts_from_when_the_percentage_began_not_from_the_last_edit() -> None:
    seen = flag((0, on(1)), (1, on(5)), (1.9, on(5), "Maria"))  # Maria changed the description
    assert raised_to(look(PLAN, seen, 2)) == 25


def test_a_soak_begins_anew_when_the_flag_was_off_in_between() -> None:
    seen = flag((0, on(5)), (0.5, off(5)), (0.6, on(5)))
    assert until(look(PLAN, seen, 1)) == at(1.6)


def test_with_a_history_too_thin_to_tell_the_soak_begins_when_it_was_seen_first() -> None:
    thin = FlagSnapshot(on(5))
    state = remembered(OFF, thin, 10)
    assert until(look(OFF, thin, 10.5, state)) == at(11)
    assert raised_to(look(OFF, thin, 11, state)) == 25


def test_the_newest_version_shows_what_is_so_now_whatever_it_leaves_out() -> None:
    versions: list[Version] = [
        {"version": 2, "createdAt": "2026-03-01T12:30:00.000Z", "flagConfig": {"enabled": True}},
        {"version": 1, "createdAt": "2026-03-01T12:00:00.000Z", "flagConfig": {"rolloutPercentage": 5}},
    ]
    seen = FlagSnapshot(on(25), history=read_history(versions, present=on(25)))
    assert until(look(OFF, seen, 1)) == at(1.5)


def test_versions_that_show_nothing_do_not_lengthen_the_soak_backwards() -> None:
    known = flag((0, on(5)), (1, on(5)))
    hidden = VersionEntry(2, at(0.5), "Airflow", None)
    seen = FlagSnapshot(on(5), history=(known.history[0], hidden, known.history[1]))
    assert until(look(OFF, seen, 1.5)) == at(2)


# changes by other actors


def test_somebody_elses_change_stops_it_with_who_when_from_and_to() -> None:
    state = remembered(PLAN, flag((0, on(5))), 0.1)
    act = look(PLAN, flag((0, on(5)), (0.5, on(50), "Maria")), 0.6, state)
    assert act == Abort("drift", "the flag was changed from 5 % to 50 % by Maria at 2026-03-01 12:30:00Z")


def test_a_change_there_and_back_between_two_looks_stops_it_too() -> None:
    state = remembered(PLAN, flag((0, on(5))), 0.1)
    act = look(PLAN, flag((0, on(5)), (0.5, on(50), "Maria"), (0.6, on(5), "Maria")), 0.7, state)
    assert isinstance(act, Abort)
    assert "from 5 % to 50 % by Maria" in act.why
    assert "from 50 % to 5 % by Maria" in act.why


def test_adopt_goes_on_from_there() -> None:
    plan = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR), on_drift="adopt")
    state = remembered(plan, flag((0, on(5))), 0.1)
    seen = flag((0, on(5)), (0.5, on(50), "Maria"))
    assert until(look(plan, seen, 0.6, state)) == at(1.5)
    assert raised_to(look(plan, seen, 1.5, state)) == 100


def test_a_person_who_disables_the_flag_is_never_overruled() -> None:
    plan = RolloutPlan(parse_stages([1, 5], soak=HOUR), on_drift="adopt")
    state = remembered(plan, flag((0, on(1))), 0.1)
    act = look(plan, flag((0, on(1)), (0.5, off(1), "Maria")), 0.6, state)
    assert isinstance(act, Abort)
    assert act.cause == "disabled"


def test_the_other_attempt_of_the_same_task_is_not_somebody_else() -> None:
    state = RolloutState(last_exposure=on(1), wrote_last=True, start=on(0)).after_observation(
        PLAN, flag((0, on(0)), (1, on(1))), at(1)
    )
    assert state.actor == "Airflow"
    twin = flag((0, on(0)), (1, on(1)), (2, on(5)))
    assert until(look(PLAN, twin, 2.1, state)) == at(3)
    maria = flag((0, on(0)), (1, on(1)), (2, on(5), "Maria"))
    assert isinstance(look(PLAN, maria, 2.1, state), Abort)


def test_what_the_other_attempt_has_rolled_back_is_not_adopted() -> None:
    plan = RolloutPlan(parse_stages([1, 5], soak=HOUR), on_drift="adopt")
    state = RolloutState(last_exposure=on(1), wrote_last=True, start=on(0)).after_observation(
        plan, flag((0, on(0)), (1, on(1))), at(1)
    )
    act = look(plan, flag((0, on(0)), (1, on(1)), (1.5, on(0))), 1.6, state)
    assert isinstance(act, Abort)
    assert act.cause == "rolled back"
    assert raised_to(look(plan, flag((0, on(0)), (1, on(1)), (1.5, on(0), "Maria")), 1.6, state)) == 1


# a change with this connection's own key, which other tasks share

BEGUN = ((0, on(0)), (1, on(1)))


def attempt(plan: RolloutPlan, *more: tuple[float, Exposure], hours: float) -> tuple[Action, RolloutState]:
    """Return the decision of an attempt that has set 1 % itself, after these versions, and its state."""
    state = RolloutState(last_exposure=on(1), wrote_last=True, start=on(0)).after_observation(plan, flag(*BEGUN), at(1))
    seen = flag(*BEGUN, *more)
    return look(plan, seen, hours, state), state.after_observation(plan, seen, at(hours))


def retry(plan: RolloutPlan, *more: tuple[float, Exposure], hours: float) -> Action:
    return look(plan, flag(*BEGUN, *more), hours, RolloutState(run_began=at(0.5), is_retry=True))


EXTERNAL: dict[str, tuple[tuple[float, Exposure], ...]] = {
    "the next stage too early": ((1.9, on(5)),),
    "a later stage during the soak": ((1.5, on(25)),),
    "the last stage during the soak": ((1.5, on(100)),),
    "a later stage after the soak": ((2.1, on(25)),),
    "a percentage that is no stage": ((2.1, on(7)),),
    "a second stage too early": ((2.1, on(5)), (2.5, on(25))),
    "down and up": ((1.5, on(0)), (1.6, on(1))),
}


@pytest.mark.parametrize("plan", [PLAN, CHECKED], ids=["unchecked", "checked"])
@pytest.mark.parametrize("steps", EXTERNAL.values(), ids=EXTERNAL)
def test_what_no_attempt_of_this_task_would_do_is_external_with_its_own_key_too(
    plan: RolloutPlan, steps: tuple[tuple[float, Exposure], ...]
) -> None:
    act, _ = attempt(plan, *steps, hours=4)
    assert isinstance(act, Abort)
    assert act.cause in ("drift", "rolled back")
    assert "by Airflow at " in act.why
    if act.cause == "drift":
        assert "(this connection's own key: another task or run with the same key did it)" in act.why
    assert isinstance(retry(plan, *steps, hours=4), Abort)


def test_a_step_outside_the_window_or_while_a_person_holds_the_flag_is_external() -> None:
    windowed = replace(PLAN, window=ChangeWindow(days="Mon-Sun", start="02:00", end="14:00", timezone="UTC"))
    assert isinstance(attempt(windowed, (1.99, on(1)), (2.5, on(5)), hours=2.6)[0], Abort)
    seen = flag(*BEGUN, (1.5, on(1)), (2.1, on(5)))
    newest, held, *older = seen.history
    state = remembered(PLAN, flag(*BEGUN), 1, RolloutState(last_exposure=on(1), wrote_last=True, start=on(0)))
    held_then = replace(seen, history=(newest, replace(held, tags=("rollout-hold",)), *older))
    assert isinstance(look(PLAN, held_then, 2.2, state), Abort)
    held_since = replace(seen, history=(replace(newest, tags=("rollout-hold",)), held, *older))
    assert isinstance(look(PLAN, held_since, 2.2, state), Wait)


def test_a_step_of_another_attempt_counts_only_after_a_check() -> None:
    act, state = attempt(CHECKED, (2.1, on(5)), hours=2.2)
    assert isinstance(act, RunGuardrails)
    seen = flag(*BEGUN, (2.1, on(5)))
    assert until(look(CHECKED, seen, 2.2, said(state, "pass", 2.2))) == at(3.1)
    assert look(CHECKED, seen, 2.2, said(state, "fail", 2.2)).to == on(0)  # type: ignore[union-attr]
    assert until(look(CHECKED, seen, 2.2, said(state, "inconclusive", 2.2))) == at(2.2) + timedelta(minutes=5)


def test_a_last_step_of_another_attempt_is_checked_before_it_ends_the_rollout() -> None:
    plan = RolloutPlan(parse_stages([1, 100], soak=HOUR), checked=True)
    seen = flag(*BEGUN, (2.1, on(100)))
    act, state = attempt(plan, (2.1, on(100)), hours=2.2)
    assert isinstance(act, RunGuardrails)
    assert isinstance(look(plan, seen, 2.2, said(state, "pass", 2.2)), Complete)
    assert isinstance(look(plan, seen, 2.2, said(state, "fail", 2.2)), RollBack)
    assert isinstance(look(plan, seen, 2.2, said(state, "inconclusive", 2.2)), Wait)
    assert isinstance(retry(plan, (2.1, on(100)), hours=2.2), RunGuardrails)
    # The last stage that this attempt set itself is not checked, because right after the raise there are no data.
    own = state.after_set_stage(on(1), at(1), on(100), seen, at(2.1))
    assert isinstance(look(plan, seen, 2.2, own), Complete)


@pytest.mark.parametrize("verdict", ["inconclusive", "error", "fail"])
def test_a_step_that_the_own_guardrails_speak_against_is_external(verdict: str) -> None:
    state = remembered(CHECKED, flag(*BEGUN), 1, RolloutState(last_exposure=on(1), wrote_last=True, start=on(0)))
    state = said(state, verdict, 2, failure_limit=2)
    assert isinstance(look(CHECKED, flag(*BEGUN, (2.1, on(5))), 2.2, state), Abort)


def test_two_steps_at_once_are_external_where_nobody_checked_the_stage_between() -> None:
    steps = (2.1, on(5)), (3.2, on(25))
    assert isinstance(attempt(CHECKED, *steps, hours=3.3)[0], Abort)
    assert isinstance(attempt(PLAN, *steps, hours=3.3)[0], Wait)


def test_in_a_group_each_task_makes_its_own_step_only() -> None:
    group = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR), only=5)
    begun = RolloutState(run_began=at(0.5))
    # The tasks of the earlier stages judge those stages: a person may have ended their soak early.
    assert until(look(group, flag(*BEGUN, (1.2, on(5))), 1.5, begun)) == at(2.2)
    assert isinstance(look(group, flag(*BEGUN, (2.1, on(25))), 2.2, begun), Abort)
    # The next stage does not begin while this stage runs.
    assert isinstance(look(group, flag(*BEGUN, (2.1, on(5)), (3.2, on(25))), 3.3, begun), Abort)
    state = remembered(group, flag(*BEGUN, (2.1, on(5))), 2.2, begun)
    assert isinstance(look(group, flag(*BEGUN, (2.1, on(5)), (3.2, on(25))), 3.3, state), Abort)


def test_a_group_that_was_cleared_after_its_rollback_goes_on_in_the_same_run() -> None:
    cleared = flag((0, on(0)), (1, on(1)), (2, on(5)), (2.5, on(0)), (3, on(1)), (4, on(5)))
    group = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR), only=25)
    began = began_after_a_clear(group, cleared.history, at(0.5))
    assert raised_to(look(group, cleared, 5, RolloutState(run_began=began))) == 25
    # Without a clear the flag stays rolled back, and a person's lowering is never ignored.
    rolled_back = flag((0, on(0)), (1, on(1)), (2, on(5)), (2.5, on(0)))
    assert began_after_a_clear(PLAN, rolled_back.history, at(0.5)) == at(0.5)
    hers = flag((0, on(0)), (1, on(1)), (2.5, on(0), "Maria"), (3, on(1)))
    assert began_after_a_clear(PLAN, hers.history, at(0.5)) == at(0.5)


# the target of a rollback, when another run began the rollout


def test_the_start_is_where_the_flag_stood_before_the_plans_unbroken_raises() -> None:
    seen = flag((0, off(0)), (1, on(1)), (2, on(1)), (3, on(5)))
    plan = replace(CHECKED, rollback="start")
    state = said(remembered(plan, seen, 4), "fail", 4)
    assert look(plan, seen, 4, state).to == off(0)  # type: ignore[union-attr]
    assert state.start == on(5)  # the exposure at the start of this run, for its result
    # Only raises by one actor count together: Maria's 1 % is not one of Airflow's raises.
    hers = flag((0, off(0)), (1, on(1), "Maria"), (3, on(5)))
    state = said(remembered(plan, hers, 4), "fail", 4)
    assert look(plan, hers, 4, state).to == on(1)  # type: ignore[union-attr]


def test_the_start_outlives_a_retry_of_a_run_that_took_over() -> None:
    seen = flag((0, off(0)), (1, on(1)), (2, on(5)), (3, on(25)))
    state = remembered(PLAN, seen, 3.1, RolloutState(run_began=at(2.5), is_retry=True))
    assert (state.start, state.origin) == (on(5), off(0))
    assert RolloutState.from_json(json.loads(json.dumps(state.as_json()))) == state


def test_a_rollback_that_lowers_nothing_says_why_and_does_not_call_it_a_rollback() -> None:
    seen = flag((0, off(0)), (1, on(5), "Maria"))  # 5 % is not after this plan's stages, so the rollout began at 5 %
    act = look(CHECKED, seen, 2, said(remembered(CHECKED, seen, 2), "fail", 2, "errors"))
    assert isinstance(act, RollBack)
    assert act.to is None
    assert act.why_left == "before this rollout the flag was at 5 %, which is not below 5 %, so nothing was lowered"
    assert describe(act) == f"Failing without a rollback ({act.why_left})"
    assert describe(RollBack(on(0), "")) == "Rolling back"
    plan = replace(CHECKED, rollback=50)
    act = look(plan, seen, 2, said(remembered(plan, seen, 2), "fail", 2, "errors"))
    assert "rollback=50 is not below 5 %" in act.why_left  # type: ignore[union-attr]


@pytest.mark.parametrize("history", ["none", "hidden"])
def test_a_rollout_whose_start_nothing_tells_is_refused_before_it_raises(history: str) -> None:
    known = flag((0, off(0)), (1, on(1)), (2, on(5)))
    hidden = (known.history[0], replace(known.history[1], exposure=None), known.history[2])
    seen = replace(known, history=() if history == "none" else hidden)
    act = look(PLAN, seen, 4)
    assert isinstance(act, Abort)
    assert "Set rollback= to a percentage or to 'off'" in act.why
    for rollback in ("off", "hold", 0, "previous"):
        assert not isinstance(look(replace(PLAN, rollback=rollback), seen, 4), Abort)
    assert not isinstance(look(PLAN, FlagSnapshot(off(5)), 4), Abort)  # no user has it, so a rollback leaves no user in


# an automatic retry


def test_a_retry_does_not_undo_a_rollback() -> None:
    seen = flag((0, on(0)), (1, on(1)), (2, on(5)), (2.5, on(0)))
    act = look(PLAN, seen, 3, RolloutState(run_began=at(0.5), is_retry=True))
    assert isinstance(act, Abort)
    assert act.cause == "rolled back"
    assert "from 5 % to 0 % by Airflow" in act.why


def test_a_retry_puts_back_what_a_dead_attempt_wrote_over() -> None:
    begun = ((0, on(0)), (1, on(1)), (2, on(5)))
    retry = RolloutState(run_began=at(0.5), is_retry=True)
    act = look(PLAN, flag(*begun, (3, on(2), "Maria"), (3, on(25))), 3.1, retry)
    assert isinstance(act, RollBack)
    assert act.to == on(2)
    assert "from 5 % to 2 % by Maria" in act.why
    # A raise after a read of 2 % would also set 5 %.
    assert isinstance(look(PLAN, flag(*begun, (3, on(2), "Maria"), (3.1, on(5))), 3.2, retry), Abort)
    # The flag was already restored, or another actor has raised it.
    assert isinstance(look(PLAN, flag(*begun, (3, on(2), "Maria"), (3, on(25)), (3, on(2))), 3.1, retry), Abort)
    assert isinstance(look(PLAN, flag(*begun, (3, on(2), "Maria"), (3, on(25), "Olga")), 3.1, retry), Abort)


def test_a_retry_stops_where_a_first_raise_may_have_come_over_a_lowering() -> None:
    retry = RolloutState(run_began=at(0.5), is_retry=True)
    act = look(PLAN, flag((0, on(1)), (1, on(0), "Maria"), (1, on(5))), 1.1, retry)
    assert isinstance(act, Abort)
    assert act.cause == "unknown"
    assert "from 1 % to 0 % by Maria" in act.why
    # A raise after a read of 0 % would also set 1 %.
    assert isinstance(look(PLAN, flag((0, on(1)), (1, on(0), "Maria"), (1, on(1))), 1.1, retry), Wait)


def test_a_run_that_a_person_cleared_begins_anew() -> None:
    seen = flag((0, on(0)), (1, on(5)), (2.5, on(0)))
    assert raised_to(look(PLAN, seen, 3)) == 1


def test_a_retry_resumes_the_soak() -> None:
    seen = flag((0, on(0)), (1, on(1)), (2, on(5)))
    assert until(look(PLAN, seen, 2.5, RolloutState(run_began=at(0.5), is_retry=True))) == at(3)


def test_a_retry_stops_at_what_a_person_changed_while_nobody_looked() -> None:
    seen = flag((0, on(0)), (1, on(1)), (2, on(50), "Maria"))
    act = look(PLAN, seen, 3, RolloutState(run_began=at(0.5), is_retry=True))
    assert isinstance(act, Abort)
    assert "by Maria" in act.why


def test_a_retry_stops_where_the_history_does_not_tell_what_happened() -> None:
    known = flag((0, on(0)), (1, on(1)), (2, on(5)), (2.5, on(5)))
    hidden = FlagSnapshot(
        on(5), history=(known.history[0], replace(known.history[1], exposure=None), *known.history[2:])
    )
    act = look(PLAN, hidden, 2.6, RolloutState(run_began=at(0.5), is_retry=True))
    assert isinstance(act, Abort)
    assert "version 3 by Airflow" in act.why
    assert isinstance(
        look(OFF, hidden, 2.6, RolloutState(run_began=at(2.6), is_retry=True)), Wait
    )  # older than the run


def test_disabling_is_lowering_even_where_nobody_got_it() -> None:
    seen = flag((0, off(0)), (1, on(0)), (2, off(0), "Maria"))
    assert isinstance(look(PLAN, seen, 3, RolloutState(run_began=at(0.5), is_retry=True)), Abort)


def test_what_the_runs_earlier_tasks_prepared_is_its_own() -> None:
    prepared = flag((0, on(100)), (1, on(0)), (1.1, on(3)), (1.2, on(5)))
    assert isinstance(look(PLAN, prepared, 1.5, RolloutState(run_began=at(0.5), is_retry=True)), Wait)


# guardrails


def said(state: RolloutState, verdict: str, hours: float, why: str = "", **consequence: object) -> RolloutState:
    """Return the state after a result of the only guardrail."""
    before = state.statuses[0] if state.statuses else GuardrailStatus("errors", GuardrailPolicy(**consequence))  # type: ignore[arg-type]
    return state.after_checks([before.with_result(verdict, why, None, at(hours))], at(hours))  # type: ignore[arg-type]


def test_guardrails_are_asked_when_the_soak_ends() -> None:
    seen = flag((0, on(5)))
    assert isinstance(look(CHECKED, seen, 0.9), Wait)
    assert isinstance(look(CHECKED, seen, 1), RunGuardrails)


def test_before_its_first_stage_there_is_nothing_to_measure() -> None:
    assert raised_to(look(CHECKED, flag((0, off(0))), 1)) == 1


def test_a_pass_after_the_soak_goes_on() -> None:
    seen = flag((0, on(5)))
    state = said(remembered(CHECKED, seen, 1), "pass", 1)
    assert raised_to(look(CHECKED, seen, 1, state)) == 25


def test_a_pass_during_the_soak_does_not_end_it() -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak=HOUR), checked=True, check_every=timedelta(minutes=24))
    seen = flag((0, on(5)))
    assert until(look(plan, seen, 0.1)) == at(0.4)
    state = remembered(plan, seen, 0.4)
    assert isinstance(look(plan, seen, 0.4, state), RunGuardrails)
    state = said(state, "pass", 0.4)
    assert until(look(plan, seen, 0.5, state)) == at(0.8)
    state = said(state, "pass", 0.8)
    assert isinstance(look(plan, seen, 1, state), RunGuardrails)


def test_a_pass_that_was_asked_for_during_the_soak_and_came_after_it_does_not_end_it() -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak=HOUR), checked=True, check_every=timedelta(minutes=54))
    seen = flag((0, on(5)))
    passed = GuardrailStatus("errors", GuardrailPolicy()).with_result("pass", "", None, at(0.9))
    assert isinstance(look(plan, seen, 1.1, remembered(plan, seen, 0.9).after_checks([passed], at(1.1))), RunGuardrails)


def test_no_raise_rests_on_an_old_answer() -> None:
    seen = flag((0, on(5)))
    state = said(remembered(CHECKED, seen, 1), "pass", 1)
    assert raised_to(look(CHECKED, seen, 1.08, state)) == 25
    assert isinstance(look(CHECKED, seen, 1.09, state), RunGuardrails)


def test_a_fail_rolls_back_at_once() -> None:
    seen = flag((0, on(0)), (1, on(5)))
    state = said(RolloutState(start=on(0), last_exposure=on(5)), "fail", 1.5, "3 % > 1 %")
    act = look(CHECKED, seen, 1.5, state)
    assert isinstance(act, RollBack)
    assert act.to == on(0)
    assert "3 % > 1 %" in act.why


def test_a_fail_below_its_limit_waits_and_is_asked_again() -> None:
    seen = flag((0, on(5)))
    state = said(remembered(CHECKED, seen, 1), "fail", 1, failure_limit=2)
    assert until(look(CHECKED, seen, 1, state)) == at(1) + timedelta(minutes=5)
    assert isinstance(look(CHECKED, seen, 1, said(state, "fail", 1.1)), RollBack)


@pytest.mark.parametrize("verdict", ["inconclusive", "error"])
def test_neither_fail_nor_pass_lengthens_the_soak_and_counts_as_a_fail_at_its_limit(verdict: str) -> None:
    seen = flag((0, on(5)))
    state = remembered(CHECKED, seen, 1)
    for turn in range(4):
        state = said(state, verdict, 1, "no data")
        assert until(look(CHECKED, seen, 1, state)) == at(1) + timedelta(minutes=5), turn
        assert isinstance(look(CHECKED, seen, 1.09, state), RunGuardrails)
    assert isinstance(look(CHECKED, seen, 1, said(state, verdict, 1)), RollBack)


def test_a_hold_stops_raising_and_lets_go_when_it_recovers() -> None:
    seen = flag((0, on(5)))
    state = said(remembered(CHECKED, seen, 1), "fail", 1, "latency", effect="hold")
    for _ in range(20):
        state = said(state, "fail", 1)
        assert isinstance(look(CHECKED, seen, 1, state), Wait)
    assert raised_to(look(CHECKED, seen, 1, said(state, "pass", 1))) == 25


def test_a_dry_run_never_acts() -> None:
    seen = flag((0, on(5)))
    state = said(remembered(CHECKED, seen, 1), "fail", 1, dry_run=True)
    assert raised_to(look(CHECKED, seen, 1, state)) == 25


def test_an_automatic_retry_asks_the_guardrails_before_it_goes_on() -> None:
    seen = flag((0, on(0)), (1, on(1)))
    assert isinstance(look(CHECKED, seen, 1.1, RolloutState(run_began=at(0.5), is_retry=True)), RunGuardrails)


@pytest.mark.parametrize(
    ("rollback", "expected"),
    [("start", off(2)), ("previous", on(5)), (3, on(3)), ("off", off(0)), ("hold", None)],
)
def test_every_rollback_goes_down_or_nowhere(rollback: object, expected: Exposure | None) -> None:
    plan = RolloutPlan(parse_stages([1, 5, 25]), rollback=rollback, checked=True)  # type: ignore[arg-type]
    state = said(RolloutState(start=off(2), last_exposure=on(25)), "fail", 1, "no")
    act = look(plan, flag((0, on(25))), 1, state)
    assert isinstance(act, RollBack)
    assert act.to == expected


def test_a_rollback_to_more_than_the_flag_has_goes_nowhere() -> None:
    plan = RolloutPlan(parse_stages([1, 5, 25]), rollback=20, checked=True)
    state = said(RolloutState(start=off(2), last_exposure=on(5)), "fail", 1, "no")
    act = look(plan, flag((0, on(5))), 1, state)
    assert isinstance(act, RollBack)
    assert act.to is None


@pytest.mark.parametrize("rollback", [25, 50, "25", 100])
def test_a_rollback_to_the_last_stage_or_above_is_refused(rollback: int | str) -> None:
    with pytest.raises(InvalidInputError, match="rollback: expected a percentage below the last stage, 25, got"):
        RolloutPlan(parse_stages([1, 5, 25]), rollback=rollback)


@pytest.mark.parametrize(("rollback", "expected"), [("start", on(0)), ("previous", on(1)), ("off", off(0))])
@pytest.mark.parametrize("percentage", [100, 25, 2])
def test_a_check_that_failed_while_a_person_moved_the_flag_rolls_back_where_that_is_adopted(
    rollback: str, expected: Exposure, percentage: float
) -> None:
    """The target may also be below the failed stage, if the person raised the flag."""
    plan = replace(CHECKED, on_drift="adopt", rollback=rollback)
    state = remembered(plan, flag((0, on(0)), (1, on(5))), 2, RolloutState(start=on(0)))
    state = said(state, "fail", 2, "errors 3 %")
    act = look(plan, flag((0, on(0)), (1, on(5)), (2, on(percentage), "Maria")), 2.1, state)
    assert isinstance(act, RollBack)
    assert act.to == expected
    assert "errors 3 %" in act.why


def test_a_failed_check_and_a_persons_change_are_both_told() -> None:
    state = said(remembered(CHECKED, flag((0, on(5))), 1), "fail", 1, "errors 3 %")
    act = look(CHECKED, flag((0, on(5)), (1, on(7), "Maria")), 1, state)
    assert isinstance(act, Abort)
    assert "by Maria" in act.why
    assert "errors 3 %" in act.why


# windows, and holds by persons

NIGHTLY = ChangeWindow(days="Mon-Sun", start="02:00", end="04:00", timezone="UTC")


def test_outside_its_window_nothing_is_raised_and_guardrails_go_on() -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak=HOUR), checked=True, window=NIGHTLY)
    seen = flag((0, on(5)))
    state = said(remembered(plan, seen, 1), "pass", 1)
    act = look(plan, seen, 1, state)
    assert until(act) == at(1) + timedelta(minutes=5)  # the next check
    assert isinstance(act, Wait)
    assert "window" in act.why
    assert isinstance(look(plan, seen, 1.1, state), RunGuardrails)
    failed = said(state, "fail", 1.1)
    assert isinstance(look(plan, seen, 1.1, failed), RollBack)  # a rollback does not wait
    state = said(remembered(plan, seen, 14), "pass", 14)
    assert raised_to(look(plan, seen, 14, state)) == 25


def test_without_guardrails_it_waits_until_the_window_opens() -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak=HOUR), window=NIGHTLY)
    assert until(look(plan, flag((0, on(5))), 1)) == at(14)
    assert until(look(plan, flag((0, off(0))), 0)) == at(14)


@pytest.mark.parametrize("tag", ["rollout-hold", "Rollout-Hold", " ROLLOUT-HOLD "])
def test_a_hold_tag_holds_in_whatever_case_a_person_types_it(tag: str) -> None:
    seen = replace(flag((0, on(0)), (1, on(1))), tags=("web", tag))
    assert isinstance(look(PLAN, seen, 3), Wait)
    assert raised_to(look(PLAN, replace(seen, tags=("web",)), 3)) == 5


def test_a_person_holds_it_by_a_tag_and_guardrails_go_on() -> None:
    seen = replace(flag((0, on(5))), tags=("team-a", "rollout-hold"))
    act = look(PLAN, seen, 1)
    assert isinstance(act, Wait)
    assert "rollout-hold" in act.why
    state = said(remembered(CHECKED, seen, 1), "pass", 1)
    assert until(look(CHECKED, seen, 1, state)) == at(1) + timedelta(minutes=5)
    assert isinstance(look(CHECKED, seen, 1, said(state, "fail", 1)), RollBack)


# one stage of several, each with its own task


@pytest.mark.parametrize(
    ("exposure", "hours", "expected"),
    [(on(1), 0.1, 5), (off(0), 0.1, "stop"), (on(5), 0.1, "wait"), (on(5), 1, "done"), (on(25), 0, "done")],
)
def test_a_stage_of_its_own_raises_only_to_itself(exposure: Exposure, hours: float, expected: object) -> None:
    plan = RolloutPlan(parse_stages([1, 5, 25, 100], soak=HOUR), only=5)
    act = look(plan, flag((0, exposure)), hours)
    outcomes = {Wait: "wait", Complete: "done", Abort: "stop"}
    assert (raised_to(act) if isinstance(act, SetStage) else outcomes[type(act)]) == expected


# state


def test_who_leaves_the_first_stage_and_sets_it_again_is_not_taken_for_the_rollout() -> None:
    seen = flag((0, on(0)), (1, on(1), "Airflow"), (1.1, on(0), "Maria"), (1.2, on(1), "Maria"))
    state = replace(RolloutState(), version=1).after_set_stage(on(0), at(0), on(1), seen, at(1.3))
    state = state.after_observation(PLAN, seen, at(1.3))
    assert state.actor == "Airflow"


def test_memory_survives_its_deferral() -> None:
    state = said(RolloutState(at(0), True, on(0), on(5.5), 7, True, "Airflow", at(1)), "inconclusive", 2, "why")
    assert state.record[-1]["verdict"] == "inconclusive"
    assert RolloutState.from_json(json.loads(json.dumps(state.as_json()))) == state
    assert RolloutState.from_json(RolloutState().as_json()) == RolloutState()


def test_the_record_does_not_grow_for_ever_and_keeps_the_raises() -> None:
    state = RolloutState().after_set_stage(on(0), at(-1), on(1), flag((0, on(0)), (0, on(1))), at(0))
    for _ in range(500):
        state = said(state, "pass", 1)
    assert len(state.record) == 200
    assert state.record[0]["what"] == "raise"


def test_a_long_record_keeps_each_verdict_and_thins_out_the_checks_that_repeat_it() -> None:
    state = RolloutState()
    for minute in range(400):
        verdict = Verdict.INCONCLUSIVE if minute == 3 else Verdict.PASS
        status = GuardrailStatus("errors", GuardrailPolicy(), verdict)
        state = state.after_checks([status], T0 + timedelta(minutes=minute))
    checks = [(datetime.fromisoformat(line["at"]) - T0).total_seconds() / 60 for line in state.record]
    assert (len(checks), checks[0], checks[-1]) == (200, 0, 399)
    assert [line["verdict"] for line in state.record].count("inconclusive") == 1
    gaps = [after - before for before, after in itertools.pairwise(checks)]
    assert max(gaps) <= 4  # evenly over the whole time


def test_the_bounds_of_a_difference_are_in_the_record_and_survive_a_deferral() -> None:
    bounds = LiftInterval(-0.049, -0.012, "lower", 0.02)
    status = GuardrailStatus("orders", GuardrailPolicy()).with_result("pass", "", -0.031, at(1), interval=bounds)
    state = RolloutState().after_checks([status], at(1))
    (line,) = state.record
    assert (line["value"], line["low"], line["high"]) == (-0.031, -0.049, -0.012)
    assert (line["worse"], line["at_most_worse"]) == ("lower", 0.02)
    assert RolloutState.from_json(json.loads(json.dumps(state.as_json()))) == state
    without = GuardrailStatus("errors", GuardrailPolicy()).with_result("pass", "", 3, at(1))
    assert "low" not in RolloutState().after_checks([without], at(1)).record[0]


def test_the_record_stays_small_whatever_the_guardrails_say() -> None:
    state = RolloutState().after_set_stage(on(0), at(-1), on(1), flag((0, on(0)), (0, on(1))), at(0))
    for _ in range(300):
        state = said(state, "pass", 1, "x" * 100_000)
    assert len(json.dumps(state.record)) <= 128 * 1024
    assert state.record[0]["what"] == "raise"
    assert state.record[-1]["why"].endswith("x ...")


# plans


@pytest.mark.parametrize(
    ("stages", "names"),
    [
        ([], "stages"),
        ([5, 5], "stages"),
        ([25, 5], "stages"),
        ([101], "stages[0]"),
        ([1, 2.5], "stages[1]"),
        ([1, "x"], "stages[1]"),
        ("1, x", "stages"),
        ({"percentage": 1}, "stages"),
        ([{"percent": 1}], "stages[0]"),
        ([{"percentage": 1, "soak": "soon"}], "stages[0].soak"),
        ([{"percentage": 1, "soak": -1}], "stages[0].soak"),
    ],
)
def test_a_bad_plan_is_refused_with_the_place(stages: object, names: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        RolloutPlan(parse_stages(stages))
    assert refusal.value.field == names


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("1, 5, 100", [(1, 60), (5, 60), (100, 0)]),
        ("[1, 5]", [(1, 60), (5, 0)]),
        ('[{"percentage": 1, "soak": "2h 30m"}, 5]', [(1, 9000), (5, 0)]),
        ([1, {"percentage": "5", "soak": "90s"}], [(1, 60), (5, 90)]),
    ],
)
def test_a_plan_can_be_written_in_several_ways(stages: object, expected: list[tuple[int, int]]) -> None:
    planned = parse_stages(stages, soak="1m")
    assert [(stage.percentage, int(stage.soak.total_seconds())) for stage in planned] == expected


@pytest.mark.parametrize("given", [12, 12.5, "12", 7200])
def test_a_length_of_time_without_a_unit_is_refused(given: object) -> None:
    """12 may mean seconds or hours, and too short a soak would let all users in."""
    with pytest.raises(InvalidInputError, match="has no unit; write"):
        parse_duration("soak", given)


@pytest.mark.parametrize("given", [0, 0.0, "0s", "0", timedelta(0)])
def test_no_time_at_all_needs_no_unit(given: object) -> None:
    assert parse_duration("soak", given) == timedelta(0)


@pytest.mark.parametrize("given", [60, 60.0, "60", "1m", timedelta(minutes=1)])
def test_an_interval_is_seconds_or_a_length_of_time(given: object) -> None:
    assert interval("poll_interval", given) == 60


@pytest.mark.parametrize("given", [0, -1, "", "often", None, True])
def test_an_interval_is_more_than_nothing(given: object) -> None:
    with pytest.raises(InvalidInputError, match="poll_interval"):
        interval("poll_interval", given)


EDITED = RolloutPlan(parse_stages([1, 10, 50, 100], soak="10m"), checked=True)
AT_5 = flag((0, off(0)), (1, on(1)), (2, on(5)))


def entered(plan: RolloutPlan = CHECKED) -> RolloutState:
    """Return the state, after a deferral, of 5 % that was set with a plan and polled once."""
    at_1 = RolloutState(last_exposure=on(1), version=2, actor="Airflow", wrote_last=True)
    state = at_1.after_set_stage(on(1), at(1), on(5), AT_5, at(2)).after_observation(plan, AT_5, at(2))
    return RolloutState.from_json(state.as_json())


def test_a_plan_edited_during_a_soak_shortens_nothing_at_the_present_stage() -> None:
    """[1, 5, 25, 100] became [1, 10, 50, 100] at 5 %: it soaks its hour, and is checked, before 10 %."""
    assert until(look(EDITED, AT_5, 2.4, entered())) == at(3)
    assert isinstance(look(EDITED, AT_5, 3, entered()), RunGuardrails)
    passed = entered().after_checks(
        [GuardrailStatus("errors", GuardrailPolicy()).with_result("pass", "", None, at(3))], at(3)
    )
    act = look(EDITED, AT_5, 3, passed)
    assert isinstance(act, SetStage)
    assert act.stage.percentage == 10


def test_a_longer_soak_in_an_edited_plan_counts_at_once() -> None:
    longer = RolloutPlan(parse_stages([1, 5, 25, 100], soak="3h"))
    assert until(look(longer, AT_5, 4, entered(PLAN))) == at(5)


def test_what_was_edited_in_a_plan_is_named() -> None:
    (said, *more) = EDITED.changes_from(entered().plan)
    assert said.startswith("stages was [[1, 3600.0], [5, 3600.0]")
    assert more == []
    assert CHECKED.changes_from(entered().plan) == []


def test_where_a_crash_lost_what_was_owed_the_longer_neighbour_stands_in() -> None:
    """With on_drift="adopt" a retry continues from an exposure that its edited plan does not have."""
    plan = RolloutPlan(
        parse_stages([{"percentage": 1, "soak": "2h"}, {"percentage": 10, "soak": "1h"}, 100]), on_drift="adopt"
    )
    retry = RolloutState(run_began=at(0.5), is_retry=True)
    assert until(look(plan, AT_5, 3, retry)) == at(4)


def test_what_is_stored_has_plain_texts_in_place_of_words() -> None:
    """Airflow's own serialisation of a state would include the class of an enum."""
    status = GuardrailStatus("errors", GuardrailPolicy()).with_result("fail", "4 %", 4.0, at(1))
    state = RolloutState().after_checks([status], at(1)).with_line(RecordKind.STOP, at(2), {"cause": "drift"})

    def types(value: object) -> set[type]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return {type(value)}.union(*map(types, parts))

    assert types(state.as_json()) <= {dict, list, tuple, str, int, float, bool, type(None)}


def test_a_wait_for_the_first_check_names_no_results() -> None:
    """The version of a stage can be some milliseconds ahead of the observed time of the service."""
    plan = RolloutPlan(parse_stages([1, 100], soak="0s"), checked=True)
    act = look(plan, flag((0, on(1))), -0.0001)
    assert isinstance(act, Wait)
    assert act.why == "the guardrails have not passed yet; next stage 100 %"


def test_an_observation_is_after_the_versions_that_it_shows() -> None:
    """The clock of the service has steps of a second, and a version has milliseconds."""
    seen = flag((0, on(1)), (1.0001, on(5)))
    assert seen.history[0].at is not None
    assert observed_at(seen, at(1)) == seen.history[0].at + timedelta(microseconds=1)
    assert observed_at(seen, at(2)) == at(2)
    assert observed_at(replace(seen, history=()), at(1)) == at(1)
