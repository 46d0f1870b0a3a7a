"""A field that the versions omit is read from the flag, so that all rules of the ramp still apply."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from threading import Timer
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import ON, PLAN, RETRIED, Failures, Soaks, flag, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[..., Run]


def experiment(emulator: Emulator, **fields: Any) -> str:
    shown = {"variants": ON, "rolloutWeights": {"on": 1}, "rolloutPercentage": 1, "deployments": ["1"], "enabled": True}
    return str(emulator.create_experiment("search", **{**shown, **fields})["id"])


def segment(percentage: int, name: str = "DE") -> dict[str, Any]:
    germany = {"type": "property", "prop": "country", "op": "is", "values": [name]}
    return {"name": name, "conditions": [germany], "percentage": percentage, "rolloutWeights": {"on": 1}}


STARTS: dict[str, tuple[dict[str, Any], str]] = {
    "stickyBucketing": ({"stickyBucketing": True}, "sticky bucketing is on"),
    "decision": ({"decision": "rollback"}, "the experiment was decided: rollback"),
}


@pytest.mark.usefixtures("soaks")  # so that a ramp that is not refused ends
@pytest.mark.parametrize("field", STARTS)
def test_a_ramp_is_refused_at_its_start_by_a_field_that_no_version_shows(
    run: Runner, emulator: Emulator, dag_id: str, field: str
) -> None:
    fields, words = STARTS[field]
    experiment(emulator, **fields)
    emulator.settings(omit_version_fields=[field])
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", experiment_key="search", **RETRIED, **broken.callback, **PLAN)
    ran = run(dag)
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert writes(emulator) == 0
    assert words in broken.said("ramp")


EDITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stickyBucketing": ({"stickyBucketing": False}, {"stickyBucketing": True}),
    "decision": ({}, {"decision": "rollback"}),
    "targetSegments": ({"targetSegments": [segment(0)]}, {"targetSegments": [segment(100)]}),
    "rolloutWeights": (
        {"variants": [*ON, {"key": "b"}], "rolloutWeights": {"on": 1, "b": 0}},
        {"rolloutWeights": {"on": 1, "b": 9}},
    ),
    "bucketingSalt": ({}, {"bucketingSalt": "pepper"}),
}


@pytest.mark.parametrize("field", EDITS)
@pytest.mark.parametrize("deferrable", [True, False])
def test_an_edit_during_a_soak_of_a_field_that_no_version_shows_stops_the_ramp(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    deferrable: bool,
) -> None:
    before, edit = EDITS[field]
    object_id = experiment(emulator, **before)
    emulator.settings(omit_version_fields=[field])

    def maria() -> None:
        emulator.edit("experiments", object_id, by="Maria", **edit)

    looks = count(1)

    def soak_with_maria(_: float) -> None:
        assert next(looks) < 5, "the ramp did not stop at her edit"
        maria()

    last = Timer(15, soaks.end)  # a ramp that does not notice Maria's edit succeeds
    if deferrable:
        soaks.will(lambda: (maria(), last.start()))
    else:
        monkeypatch.setattr("airflow_provider_ampexp.operators._rollout.waiting.time.sleep", soak_with_maria)
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", experiment_key="search", deferrable=deferrable, **RETRIED, **broken.callback, **PLAN
        )
    ran = run(dag)
    last.cancel()
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert writes(emulator) == 0
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["cause"] in ("drift", "sticky", "decided")


def test_a_disabled_flag_is_not_enabled_while_its_segments_are_not_shown(
    run: Runner, emulator: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service shows the segments in no response, so it is not known which users enabling would let in."""
    from airflow_provider_ampexp.client import _optional_fields as optional_fields

    flag(emulator, targetSegments=[segment(100)])
    monkeypatch.setitem(optional_fields._OF_FLAG, "targetSegments", lambda value: False)
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **RETRIED, **broken.callback, **PLAN)
    ran = run(dag)
    assert ran.states == {"ramp": "failed"}
    assert writes(emulator) == 0
    assert "Amplitude does not show the target segments" in broken.said("ramp")


def test_a_segment_is_not_ramped_in_a_disabled_flag_whose_other_percentage_is_not_shown(
    run: Runner, emulator: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.client import _optional_fields as optional_fields

    flag(emulator, rolloutPercentage=100, targetSegments=[segment(0)])
    monkeypatch.setitem(optional_fields._OF_FLAG, "rolloutPercentage", lambda value: False)
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", segment="DE", **RETRIED, **broken.callback, **PLAN
        )
    ran = run(dag)
    assert ran.states == {"ramp": "failed"}
    assert writes(emulator) == 0
    assert "Amplitude does not show the percentage of all other users" in broken.said("ramp")
