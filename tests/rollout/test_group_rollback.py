"""The rollback of a group after a failed or rejected rollout, or one that a person ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import Abort, Complete, RollBack
from airflow_provider_ampexp.rollout._group_rollback import decide_group_rollback
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState

BEGAN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
START = Exposure(0, enabled=True)
PLAN = RolloutPlan(parse_stages([1, 5, 25, 100], soak="1h"))


def on(percentage: int, by: str = "Airflow") -> tuple[Exposure, str]:
    return Exposure(percentage, enabled=True), by


def off(percentage: int, by: str = "Airflow") -> tuple[Exposure, str]:
    return Exposure(percentage, enabled=False), by


def after(
    *external_changes: tuple[Exposure, str],
    start: Exposure = START,
    plan: RolloutPlan = PLAN,
    finished: tuple[int, ...] = (),
) -> RollBack | Complete | Abort:
    """Return the decision after these changes of exposure, an hour apart."""
    entries = [
        VersionEntry(number, BEGAN + timedelta(hours=number - 0.5), by, exposure)
        for number, (exposure, by) in enumerate([(start, "Maria"), *external_changes])
    ]
    stands = entries[-1].exposure
    assert stands is not None
    seen = FlagSnapshot(stands, history=tuple(reversed(entries)))
    return decide_group_rollback(
        plan, seen, RolloutState(BEGAN), BEGAN + timedelta(days=1), "failed: stage_5", finished
    )


def test_what_this_run_raised_is_taken_back() -> None:
    assert after(on(1), on(5)) == RollBack(START, "failed: stage_5")


def test_what_it_did_not_raise_stays() -> None:
    assert isinstance(after(), Abort)
    assert isinstance(after(on(50, "Maria")), Abort)


def test_what_a_person_changed_since_stays() -> None:
    assert isinstance(after(on(1), on(5), on(2, "Maria")), Abort)
    assert isinstance(after(on(1), on(5), on(50, "Maria")), Abort)


@pytest.mark.parametrize("on_drift", ["adopt", "stop"])
def test_what_it_raised_after_the_change_of_a_person_is_taken_back(on_drift: str) -> None:
    """The plan adopts the change, or a person cleared the stage that stopped there."""
    plan = RolloutPlan(parse_stages([1, 5, 25, 100], soak="1h"), on_drift=on_drift)
    back = RollBack(START, "failed: stage_5")
    assert after(on(1), on(5), on(2, "Maria"), on(5), plan=plan) == back
    assert after(on(1), off(1, "Maria"), on(1, "Maria"), on(5), plan=plan) == back
    assert isinstance(after(on(1), on(2, "Maria"), on(5), on(3, "Maria"), plan=plan), Abort)


def test_a_stage_that_rolled_back_by_itself_has_done_it() -> None:
    assert isinstance(after(on(1), on(5), on(0)), Complete)
    assert isinstance(after(off(1), on(1), on(5), off(5), off(50), start=Exposure(50, enabled=False)), Complete)


def test_what_was_raised_again_after_a_rollback_is_taken_back_again() -> None:
    """For example, stages were cleared during the run, or an attempt that was believed to be dead continued."""
    assert after(on(1), on(5), on(0), on(1)) == RollBack(START, "failed: stage_5")
    assert isinstance(after(on(1), on(5), on(0), on(1), on(0)), Complete)


def test_an_early_raise_is_taken_back_only_if_the_stage_before_ended_well() -> None:
    """A person may have promoted the stage. Otherwise another task with the same key set it, and it is not changed."""
    slow = RolloutPlan(parse_stages([1, 5, 25, 100], soak="2h"))
    act = after(on(1), on(5), plan=slow)
    assert isinstance(act, Abort)
    assert act.cause == "drift"
    assert after(on(1), on(5), plan=slow, finished=(1,)) == RollBack(START, "failed: stage_5")
    assert isinstance(after(on(1), on(25), plan=slow, finished=(1,)), Abort)


def test_a_history_that_shows_no_exposure_does_not_tell_who_raised_it() -> None:
    """Then users may still get what this run raised, so a person must know."""
    raised = Exposure(25, enabled=True)
    hidden = tuple(VersionEntry(number, BEGAN + timedelta(hours=number), "Airflow", None) for number in (2, 1))
    shown = VersionEntry(3, BEGAN + timedelta(hours=3), "Airflow", raised)
    plan = RolloutPlan(parse_stages([1, 5, 25, 100], soak="1h"), rollback="off")

    def decided(history: tuple[VersionEntry, ...], exposure: Exposure = raised) -> str:
        seen = FlagSnapshot(exposure, history=history)
        act = decide_group_rollback(plan, seen, RolloutState(BEGAN), BEGAN + timedelta(days=1), "failed: stage_5")
        assert isinstance(act, Abort)
        return str(act.cause)

    assert decided((shown, *hidden)) == "unknown"
    assert decided(()) == "unknown"
    assert decided((shown, *hidden), Exposure(25, enabled=False)) == "nothing raised"  # no user gets the flag
    old = tuple(replace(entry, at=BEGAN - timedelta(days=1)) for entry in (shown, *hidden))
    assert decided(old) == "nothing raised"  # the flag was at this percentage before this run
