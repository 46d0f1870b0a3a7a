"""A segment is renamed, duplicated or removed during a rollout: the error has the actor and the present exposure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, RETRIED, Failures, Soaks, flag, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]


def segment(name: str, percentage: int) -> dict[str, Any]:
    return {
        "name": name,
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
        "percentage": percentage,
        "rolloutWeights": {"on": 1},
        "bucketingKey": "user_id",
    }


EDITS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "renamed": (
        [segment("Beta 2", 1), segment("Paid", 0)],
        "segment 'Beta' was renamed to 'Beta 2' by Maria at ",
        "USERS STILL GET IT through segment 'Beta 2' at 1 %.",
    ),
    "removed": (
        [segment("Paid", 20)],
        "segment 'Beta' was removed by Maria at ",
        "USERS STILL GET IT through segment 'Paid' at 20 %.",
    ),
    "doubled": (
        [segment("Beta", 1), segment("Beta", 30)],
        "segment 'Beta' was doubled: there are 2 of that name, by Maria at ",
        "USERS STILL GET IT through segment 'Beta' at 1 %, and segment 'Beta' at 30 %.",
    ),
}


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("name", EDITS)
def test_a_segment_that_is_lost_during_a_soak_stops_the_rollout_and_says_who_did_it_and_who_gets_it(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    deferrable: bool,
) -> None:
    segments, change, gets = EDITS[name]
    flag_id = flag(emulator, enabled=True, targetSegments=[segment("Beta", 0), segment("Paid", 0)])

    def maria() -> None:
        emulator.edit("flags", flag_id, by="Maria", targetSegments=segments)

    if deferrable:
        soaks.will(maria)
    else:
        monkeypatch.setattr("airflow_provider_ampexp.operators._rollout.waiting.time.sleep", lambda seconds: maria())
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            segment="Beta",
            deferrable=deferrable,
            **RETRIED,
            **broken.callback,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert writes(emulator) == 1  # the first stage
    assert change in broken.said("ramp")
    assert gets in broken.said("ramp")
    last = ran.xcom("ramp", key=RECORD_XCOM)[-1]
    assert change in last["why"]
    assert gets in last["why"]


def test_a_run_that_begins_after_a_rename_names_the_new_name(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator, targetSegments=[segment("Beta", 1)])
    emulator.edit("flags", flag_id, by="Maria", targetSegments=[segment("Beta 2", 1)])
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **broken.callback, **PLAN)
    run(dag)
    assert "segment 'Beta' was renamed to 'Beta 2' by Maria" in broken.said("ramp")
    assert "The flag is disabled, so nobody gets it." in broken.said("ramp")


@pytest.mark.parametrize("name", EDITS)
def test_the_rollback_task_of_a_group_says_loudly_that_it_cannot_lower_a_lost_segment(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, name: str
) -> None:
    segments, change, gets = EDITS[name]
    flag_id = flag(emulator, enabled=True, targetSegments=[segment("Beta", 0), segment("Paid", 0)])
    soaks.will(lambda: emulator.edit("flags", flag_id, by="Maria", targetSegments=segments))
    broken = Failures()
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", segment="Beta", default_args=broken.callback, **PLAN)
    ran = run(dag)

    assert ran.states["rollout.rollback"] == "failed"
    said = broken.said("rollout.rollback")
    assert "ROLLBACK NOT CONFIRMED" in said
    assert change in said
    assert gets in said


def test_a_rollback_that_has_nothing_to_take_back_is_skipped_also_where_the_segment_is_lost(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.operators._rollout.group_rollback_task import RollbackTask

    flag_id = flag(emulator, enabled=True, targetSegments=[segment("Beta", 0)])
    look = RollbackTask.find_flag

    def renamed_before(*given: Any) -> Any:
        emulator.edit("flags", flag_id, by="Maria", targetSegments=[segment("Beta 2", 100)])
        return look(*given)

    monkeypatch.setattr(RollbackTask, "find_flag", renamed_before)
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", segment="Beta", **PLAN)
    ran = run(dag)
    assert ran.states["rollout.stage_100"] == "success"
    assert ran.states["rollout.rollback"] == "skipped"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_wait_for_a_lost_segment_ends_and_shows_the_segments_there_are(
    run: Runner, emulator: Emulator, dag_id: str, enabled: bool
) -> None:
    flag(emulator, enabled=enabled, targetSegments=[segment("Beta 2", 5)])
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRolloutSensor(
            task_id="wait",
            flag_key="search",
            segment="Beta",
            at_least=50,
            deferrable=False,
            poke_interval=0.1,
            **broken.callback,
        )
    assert run(dag).states == {"wait": "failed"}
    assert "no target segments named 'Beta' (its segments: 'Beta 2' at 5 %)" in broken.said("wait")
    who = "the percentages of its segments decide who gets it" if enabled else "it is disabled: nobody gets it"
    assert who in broken.said("wait")
