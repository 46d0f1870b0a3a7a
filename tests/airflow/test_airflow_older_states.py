"""A deferral of another version of this provider resumes, also with more or fewer keys."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from ramps import flag

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.polling._conditions import EnabledIs, RolloutAtLeast, StateIs, as_plain, from_plain
from airflow_provider_ampexp.polling._rollout_wait import RolloutWait
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger
from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

# The states as the code of 2026-11-26 wrote them, before a field was added or renamed.
STATES: dict[str, Any] = json.loads((Path(__file__).parent / "states_of_0_1_0.json").read_text())


def with_one_key_fewer(state: dict[str, Any]) -> list[Any]:
    return [
        pytest.param({name: value for name, value in state.items() if name != key}, id=f"without {key}")
        for key in state
    ]


def test_what_a_rollout_remembered_is_read_as_it_was() -> None:
    state = RolloutState.from_json(STATES["memory"])
    told = state.as_json()
    assert {name: told[name] for name in STATES["memory"] if name != "streaks"} == {
        name: value for name, value in STATES["memory"].items() if name != "streaks"
    }
    assert (state.statuses[0].name, state.statuses[0].verdict) == ("errors", "pass")


@pytest.mark.parametrize("state", with_one_key_fewer(STATES["memory"]))
def test_a_memory_without_a_key_is_read(state: dict[str, Any]) -> None:
    state = RolloutState.from_json({**state, "of_a_later_version": {"a": 1}})
    assert state.last_exposure in (None, Exposure(5, True))


@pytest.mark.parametrize("state", with_one_key_fewer(STATES["memory"]["streaks"][0]))
def test_a_streak_without_a_key_is_read(state: dict[str, Any]) -> None:
    state = RolloutState.from_json({**STATES["memory"], "streaks": [{**state, "of_a_later_version": 1}]})
    assert len(state.statuses) == 1
    assert str(state.statuses[0])


@pytest.mark.parametrize("key", STATES["memory"]["streaks"][0]["consequence"])
def test_the_limits_of_a_streak_without_a_key_are_read(key: str) -> None:
    streak = STATES["memory"]["streaks"][0]
    limits = {name: value for name, value in streak["consequence"].items() if name != key} | {"of_a_later": 1}
    state = RolloutState.from_json({**STATES["memory"], "streaks": [{**streak, "consequence": limits}]})
    assert state.statuses[0].consequence.failure_limit == 1


@pytest.mark.parametrize("state", with_one_key_fewer(STATES["plan"]))
def test_a_plan_without_a_key_is_read_if_it_has_stages(state: dict[str, Any]) -> None:
    if "stages" in state:
        plan = RolloutPlan.from_json({**state, "of_a_later_version": 1})
        assert [stage.percentage for stage in plan.all_stages] == [1, 5, 25]


@pytest.mark.parametrize("state", with_one_key_fewer(STATES["watch"]))
def test_a_wait_that_does_not_say_enough_is_over_at_once(state: dict[str, Any]) -> None:
    if not {"kind", "id"} <= set(state):
        return  # without these keys there is nothing to poll, so the task finds its own flag
    watch = RolloutWait.from_plain({**state, "of_a_later_version": 1})
    now = datetime(2026, 3, 2, 11, tzinfo=timezone.utc)
    event = watch.judge({"id": "1", "rolloutPercentage": 5, "enabled": True, "tags": []}, now)
    is_over = not {"percentage", "enabled", "until"} <= set(state)
    assert (event is not None) == is_over


@pytest.mark.parametrize(
    ("place", "condition"),
    [(0, StateIs(["running"], ["planning"])), (1, RolloutAtLeast(50, "Beta")), (2, EnabledIs(True))],
)
def test_a_condition_is_read_with_keys_that_are_not_known(place: int, condition: Any) -> None:
    state = STATES["conditions"][place]
    assert from_plain({**state, "of_a_later_version": 1}) == condition
    assert as_plain(condition).items() >= state.items()


def test_the_triggers_of_another_version_are_made() -> None:
    soak = AmplitudeSoakTrigger(**STATES["soak_trigger"], of_a_later_version=1)
    assert soak.watch == STATES["watch"]
    assert "of_a_later_version" not in soak.serialize()[1]
    watch = AmplitudeFlagStateTrigger(**STATES["watch_trigger"], of_a_later_version=1)
    assert watch.target.id == "1"


@pytest.mark.parametrize("missing", [*STATES["watch"], *STATES["memory"]])
def test_a_soak_that_another_version_left_goes_on(emulator: Emulator, missing: str) -> None:
    """The present stage still soaks in full without any one of the keys."""
    flag_id = flag(emulator, "search", enabled=True)
    emulator.edit("flags", flag_id, by="Airflow", rolloutPercentage=5)
    began = datetime.fromisoformat(emulator.versions("flags", flag_id)[0]["createdAt"].replace("Z", "+00:00"))
    watch = {**STATES["watch"], "id": flag_id, "until": (began + timedelta(hours=12)).isoformat()}
    state = {**STATES["memory"], "version": 2, "hand": "Airflow", "run_began": None, "is_retry": False}
    state |= {"seen_first": began.isoformat(), "checked_at": None, "streaks": []}
    watch, state = ({name: value for name, value in state.items() if name != missing} for state in (watch, state))
    ramp = AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=[1, 5, 25], soak="12h")
    with pytest.raises(TaskDeferred) as waiting:
        ramp.resume({}, {"status": "due", "archived": False}, watch, state)
    until = datetime.fromisoformat(waiting.value.trigger.watch["until"])
    assert abs(until - began - timedelta(hours=12)) < timedelta(seconds=5)
    assert all(version["flagConfig"]["rolloutPercentage"] <= 5 for version in emulator.versions("flags", flag_id))
