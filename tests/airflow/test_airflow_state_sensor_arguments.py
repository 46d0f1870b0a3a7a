"""A wrong argument of a wait for a state is refused when the DAG is parsed, not after weeks of waiting."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.sensors.experiment import AmplitudeExperimentStateSensor


@pytest.mark.parametrize("way", ["flag_key", "flag_id"])
def test_a_state_sensor_of_a_flag_is_refused(way: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"{way}: a flag has no state.*experiment_key"):
        AmplitudeExperimentStateSensor(task_id="s", states=["running"], **{way: "search"})


def test_a_state_sensor_of_a_flag_is_refused_also_by_default_args() -> None:
    with (
        DAG("defaults", schedule=None, default_args={"flag_key": "{{ params.key }}"}),
        pytest.raises(InvalidInputError, match="flag_key: a flag has no state"),
    ):
        AmplitudeExperimentStateSensor(task_id="s", states=["running"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"states": ["decision-maed"]},
            "states: 'decision-maed' is not a documented state; is 'decision-made' meant?",
        ),
        (
            {"states": ["running"], "failed_states": ["plannig"]},
            "failed_states: 'plannig' is not a documented state; is 'planning' meant?",
        ),
        ({"states": ["zzz"]}, "states: 'zzz' is not a documented state (planning, running, decision-made)"),
    ],
)
def test_a_state_that_is_not_documented_is_warned_of(arguments: dict[str, Any], said: str) -> None:
    with pytest.warns(UserWarning, match="is not a documented state") as warned:
        AmplitudeExperimentStateSensor(task_id="s", experiment_key="button", **arguments)
    assert [str(warning.message) for warning in warned] == [said]
    assert warned[0].filename == __file__


def test_documented_states_and_templates_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for states in (["planning", "running", "decision-made"], "{{ params.states }}"):
            AmplitudeExperimentStateSensor(task_id="s", experiment_key="button", states=states)
