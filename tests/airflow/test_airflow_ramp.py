"""The ramp from 0 % to 100 %, in real tasks: each stage, each soak, and the record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow.sdk.exceptions import TaskDeferred
from airflow_runs import Run
from ramps import ON, PLAN, RETRIED, Soaks, began, exposures, flag, history, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext
from airflow_provider_ampexp.operators._rollout import waiting
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.rollout import Stage
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]


def test_a_whole_ramp(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", stages=[1, 5, 25, 100], soak="1h", poll_interval=0.1
        )
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    assert ran.tries == {"ramp": 1}
    assert history(emulator, flag_id) == [
        (0, "Seed"),
        (1, "Airflow"),
        (5, "Airflow"),
        (25, "Airflow"),
        (100, "Airflow"),
    ]
    moments = began(emulator, flag_id)[1:]
    assert all(later - earlier >= timedelta(hours=1) for earlier, later in pairwise(moments))
    url = ran.xcom("ramp", key="amplitude_experiment_url")
    assert url.endswith(flag_id)
    assert ran.xcom("ramp") == {
        "id": flag_id,
        "key": "search",
        "changed": True,
        "before": 0,
        "after": 100,
        "url": url,
    }
    record = ran.xcom("ramp", key=RECORD_XCOM)
    assert [{**line, "at": None, "since": None, "made_at": None, "plan": None} for line in record] == [
        {
            "id": f"raise-{version}",
            "at": None,
            "what": "raise",
            "plan": None,
            "version": version,
            "percentage": after,
            "enabled": True,
            "from": before,
            "since": None,
            "to": after,
            "made_at": None,
        }
        for version, (before, after) in enumerate(((0, 1), (1, 5), (5, 25), (25, 100)), 2)
    ]
    for line, since, moment in zip(record, began(emulator, flag_id), moments, strict=False):
        assert abs(datetime.fromisoformat(line["at"]) - moment) <= timedelta(seconds=1)
        assert abs(datetime.fromisoformat(line["since"]) - since) <= timedelta(seconds=1)


def test_a_soak_holds_no_worker_and_a_stage_takes_three_requests(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is free while the trigger polls, and the trigger only reads."""
    monkeypatch.setattr(waiting, "time", None)  # a worker that sleeps would fail
    flag_id = flag(emulator)
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    assert run(dag).succeeded

    moments = began(emulator, flag_id)
    assert [datetime.fromisoformat(watch["until"]) for watch in soaks.watches] == [
        moment + timedelta(hours=1) for moment in moments[1:3]
    ]
    assert soaks.requests == ["GET /api/1/flags/{id}"] * 2
    assert emulator.requests()["by_route"] == {
        "GET /api/1/flags": 1,  # its id
        "GET /api/1/flags/{id}": 2,  # one poll for each soak
        "GET /api/1/flags/{id}/variants/{variantKey}/cohorts": 1,  # the service does not have cohorts
        "GET /api/1/flags/{id}/versions": 1 + 2 + 3,  # at first, after each soak, after each write
        "PATCH /api/1/flags/{id}": 3,
    }


def test_a_text_without_jinja_stays_what_it_is_in_a_native_dag(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id, other_id = flag(emulator, "1_000"), flag(emulator, "1000")
    with DAG(dag_id, render_template_as_native_obj=True) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="1_000", stages="[1, 100]", soak="3600s", hold_tag="1_0", poll_interval=0.1
        )
    assert run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 100]
    assert exposures(emulator, other_id) == [0]
    assert soaks.watches[0]["hold_tag"] == "1_0"


def test_everything_may_be_a_template(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator, "from-params")
    other_id = flag(emulator, "from-json")
    params = {"flag": "from-params", "stages": [10, 20], "soak": "2h", "tag": "wait", "rollback": 5}
    with DAG(dag_id, params=params) as dag:
        AmplitudeRampRolloutOperator(
            task_id="params",
            flag_key="{{ params.flag }}",
            stages="{{ params.stages }}",
            soak="{{ params.soak }}",
            hold_tag="{{ params.tag }}",
            rollback="{{ params.rollback }}",
            on_drift="{{ 'adopt' }}",
            check_every="{{ '30m' }}",
            poll_interval=0.1,
        )
        AmplitudeRampRolloutOperator(
            task_id="json",
            flag_id="{{ run_id and '" + other_id + "' }}",
            stages='[{"percentage": 30, "soak": "{{ params.soak }}"}, 40]',
            poll_interval=0.1,
        )
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert exposures(emulator, flag_id) == [0, 10, 20]
    assert exposures(emulator, other_id) == [0, 30, 40]
    watches = {watch["id"]: watch for watch in soaks.watches}
    assert set(watches) == {flag_id, other_id}
    for item, watch in watches.items():
        assert datetime.fromisoformat(watch["until"]) == began(emulator, item)[1] + timedelta(hours=2)
    assert watches[flag_id]["hold_tag"] == "wait"


def test_one_task_for_many_flags(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    first, second = flag(emulator, "first"), flag(emulator, "second")
    with DAG(dag_id) as dag:
        first_ramp = AmplitudeRampRolloutOperator.partial(task_id="ramp", soak="1h", poll_interval=0.1).expand_kwargs(
            [{"flag_key": "first", "stages": [1, 100]}, {"flag_key": "second", "stages": [50]}]
        )
        first_ramp >> AmplitudeRampRolloutOperator.partial(task_id="again", **PLAN).expand(flag_key=["first", "second"])
    ran = run(dag)

    assert set(ran.states.values()) == {"success"}, ran.states
    assert exposures(emulator, first) == [0, 1, 100]
    assert exposures(emulator, second) == [0, 50, 100]
    assert [ran.xcom("ramp", map_index=percentage)["after"] for percentage in (0, 1)] == [100, 50]


def test_an_experiment(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    button = str(emulator.create_experiment("button", variants=[{"key": "control"}, {"key": "blue"}])["id"])
    flag_id = flag(emulator, "button-flag")
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", experiment_key="button", **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, button, "experiments")[1:] == [1, 25, 100]
    assert (soaks.watches[0]["kind"], ran.xcom("ramp")["id"]) == ("experiments", button)
    assert exposures(emulator, flag_id) == [0]


def segments(beta: int) -> list[dict[str, Any]]:
    norway = {"type": "property", "prop": "country", "op": "is", "values": ["NO"]}
    same = {"rolloutWeights": {"on": 1}, "bucketingKey": "staff_id"}
    return [
        {"name": "Staff", "conditions": [norway], "percentage": 100, **same},
        {"name": "Beta", "conditions": [norway], "percentage": beta, **same},
        {"name": "Rest", "conditions": [], "percentage": 3, **same, "bucketingKey": "amplitude_id"},
    ]


def test_a_segment_is_ramped_and_all_others_are_sent_back_as_they_were(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=7, targetSegments=segments(0))
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", catch_all="Rest", **PLAN)
    ran = run(dag)

    assert ran.succeeded
    configs = [version["flagConfig"] for version in reversed(emulator.versions("flags", flag_id))]
    assert [config["targetSegments"] for config in configs] == [segments(percentage) for percentage in (0, 1, 25, 100)]
    assert [(config["enabled"], config["rolloutPercentage"]) for config in configs] == [(True, 7)] * 4
    assert [ran.xcom("ramp")[name] for name in ("before", "after")] == [0, 100]


def test_it_starts_where_the_flag_stands(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    fields = {"enabled": {"enabled": True}, "disabled": {"enabled": False}}
    ids = {
        "on_a_stage": flag(emulator, "on_a_stage", rolloutPercentage=25, **fields["enabled"]),
        "between": flag(emulator, "between", rolloutPercentage=30, **fields["enabled"]),
        "at_the_last": flag(emulator, "at_the_last", rolloutPercentage=60, **fields["enabled"]),
        "beyond": flag(emulator, "beyond", rolloutPercentage=80, **fields["enabled"]),
        "disabled": flag(emulator, "disabled", rolloutPercentage=80, **fields["disabled"]),
    }
    with DAG(dag_id) as dag:
        plan: dict[str, Any] = {**PLAN, "stages": [1, 25, 60]}
        chain(*[AmplitudeRampRolloutOperator(task_id=key, flag_key=key, **plan) for key in ids])
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {
        "on_a_stage": [25, 60],  # after an hour at 25 %
        "between": [30, 60],
        "at_the_last": [60],
        "beyond": [80],
        "disabled": [0, 0, 1, 25, 60],  # a disabled flag is below the first stage, at any percentage
    }
    assert [ran.xcom(key)["changed"] for key in ids] == [True, True, False, False, True]
    assert [watch["id"] for watch in soaks.watches] == [ids["on_a_stage"], *[ids["disabled"]] * 2]
    assert datetime.fromisoformat(soaks.watches[0]["until"]) == began(emulator, ids["on_a_stage"])[0] + timedelta(
        hours=1
    )


def test_a_flag_that_is_to_stay_disabled(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", enable=False, **RETRIED, **PLAN)
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["cause"] == "disabled"
    assert writes(emulator) == 0
    assert exposures(emulator, flag_id) == [0]


def test_the_last_stage_soaks_when_it_says_so(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", stages=[Stage(10, "2h"), Stage(100, "1h")], poll_interval=0.1
        )
    assert run(dag).succeeded

    moments = began(emulator, flag_id)[1:]
    ends = [datetime.fromisoformat(watch["until"]) for watch in soaks.watches]
    assert ends == [moments[0] + timedelta(hours=2), moments[1] + timedelta(hours=1)]


def test_on_a_worker(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", stages=[1, 100], soak="3s", poll_interval=0.1, deferrable=False
        )
    assert run(dag).succeeded

    assert soaks.watches == []
    assert exposures(emulator, flag_id) == [0, 1, 100]
    first, last = began(emulator, flag_id)[1:]
    assert last - first >= timedelta(seconds=3)


def test_outside_of_a_task(emulator: Emulator) -> None:
    flag_id = flag(emulator, rolloutPercentage=1, enabled=True)
    arguments: dict[str, Any] = {"flag_key": "search", "poll_interval": 0.1}
    done = AmplitudeRampRolloutOperator(task_id="ramp", stages=[5, 25], soak="1s", **arguments).execute({})
    assert (done["before"], done["after"], done["changed"]) == (1, 25, True)
    assert exposures(emulator, flag_id) == [1, 5, 25]
    with pytest.raises(TaskDeferred) as deferred:
        AmplitudeRampRolloutOperator(task_id="ramp", stages=[25, 100], soak="1h", **arguments).execute({})
    assert deferred.value.method_name == "resume"
    assert exposures(emulator, flag_id) == [1, 5, 25]
    assert emulator.flag(flag_id)["variants"][0]["key"] == ON[0]["key"]


def test_a_line_of_the_log_says_where_it_stands_and_what_comes_next(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator)
    lines = told(monkeypatch)
    with pytest.raises(TaskDeferred):
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN).execute({})

    created, raised = began(emulator, flag_id)
    assert [line for line in lines if line.startswith("flag 'search'")] == [
        f"flag 'search': 0 % (disabled) since {created:%Y-%m-%d %H:%M:%SZ}. Raising: next stage 1 %.",
        f"flag 'search': 1 % since {raised:%Y-%m-%d %H:%M:%SZ}. Waiting: soaking until "
        f"{raised + timedelta(hours=1):%Y-%m-%d %H:%M:%SZ}; next stage 25 %.",
    ]


@pytest.mark.parametrize("is_group", [False, True])
def test_a_plan_edited_during_a_soak_counts_from_the_next_stage_on(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch, is_group: bool
) -> None:
    flag_id, lines = flag(emulator), told(monkeypatch)
    asked: list[float] = []

    def watched(moment: CheckContext) -> bool:
        asked.append(moment.percentage)
        return True

    plan: dict[str, Any] = {**PLAN, "stages": [1, 5, 25], "guardrails": [watched]}
    with DAG(dag_id) as dag:
        if is_group:
            staged_rollout(flag_key="search", **plan)
        else:
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **plan)

    def edit() -> None:
        for task in dag.tasks:
            task.soak = "1m"  # type: ignore[attr-defined]
            if not is_group:
                task.stages = [1, 10, 25]  # type: ignore[attr-defined]
        emulator.advance(22 * 60)
        soaks.end()

    soaks.will(None, edit)
    assert run(dag).succeeded
    assert exposures(emulator, flag_id) == ([0, 1, 5, 25] if is_group else [0, 1, 5, 10, 25])
    lengths = [later - earlier for earlier, later in pairwise(began(emulator, flag_id)[1:])]
    assert lengths[1] >= timedelta(hours=1)  # 5 % soaked as long as the plan said when it was set
    assert 5 in asked
    assert any("The plan was edited during this rollout: stages was" in line for line in lines)
