"""The first stage enables a disabled flag only if no other users get the flag by this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import ON, PLAN, RETRIED, Failures, Soaks, flag, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeEditOperator, AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
PRO = [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}]
COHORT = [{"type": "cohort", "prop": "userdata_cohort", "op": "set contains", "values": ["abc123"]}]


def segment(name: str, percentage: int, conditions: Any = PRO) -> dict[str, Any]:
    return {
        "name": name,
        "conditions": conditions,
        "percentage": percentage,
        "rolloutWeights": {"on": 1},
        "bucketingKey": "user_id",
    }


OTHERS: dict[str, tuple[str | None, dict[str, Any], str]] = {
    "all other users": (
        "Beta",
        {"rolloutPercentage": 100, "targetSegments": [segment("Beta", 0)]},
        "the percentage of all other users, 100 %",
    ),
    "another segment": (
        "Beta",
        {"targetSegments": [segment("Beta", 0), segment("Paid", 100)]},
        "segment 'Paid' at 100 %",
    ),
    "a catch-all": (
        None,
        {"targetSegments": [segment("Rest", 100, [])]},
        "segment 'Rest' at 100 %, which shows no conditions and may capture all users",
    ),
    "a segment, for all users": (None, {"targetSegments": [segment("Paid", 5)]}, "segment 'Paid' at 5 %"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", ["flag", "experiment"])
def test_a_disabled_flag_that_others_would_get_with_the_first_stage_is_refused_before_anything_is_written(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, name: str, kind: str
) -> None:
    ramped, fields, words = OTHERS[name]
    if kind == "flag":
        flag(emulator, **fields)
    else:
        made = {"variants": ON, "rolloutPercentage": 0, "deployments": ["1"], "stickyBucketing": True, **fields}
        emulator.create_experiment("search", **made)
    target = {f"{kind}_key": "search", "segment": ramped, "sticky": "switch_off"}
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", **target, **RETRIED, **broken.callback, **PLAN)
        staged_rollout(**target, default_args=broken.callback, **PLAN)
    ran = run(dag)

    assert (ran.states["ramp"], ran.tries["ramp"]) == ("failed", 1)
    assert ran.states["rollout.stage_1"] == "failed"
    assert writes(emulator) == 0
    for task in ("ramp", "rollout.stage_1"):
        assert words in broken.said(task)
        assert "Set those percentages to 0, or enable the flag first" in broken.said(task)
        assert "left the flag as it is, at 0 % (disabled)" in broken.said(task)
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["cause"] == "others"


def test_it_is_refused_too_where_the_newest_version_does_not_show_the_percentage_of_all_others(
    run: Runner, emulator: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.reconcile import _flag

    read = _flag.config_of
    monkeypatch.setattr(
        _flag, "config_of", lambda version: {k: v for k, v in read(version).items() if k != "rolloutPercentage"}
    )
    flag(emulator, rolloutPercentage=100, targetSegments=[segment("Beta", 0)])
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **PLAN)
    assert run(dag).states == {"ramp": "failed"}
    assert writes(emulator) == 0


def test_of_an_enabled_flag_it_is_warned_in_log_and_record_who_has_it_already(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(emulator, enabled=True, rolloutPercentage=40, targetSegments=[segment("Beta", 0), segment("Paid", 100)])
    lines = told(monkeypatch)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    words = "already get it, through segment 'Paid' at 100 %, and the percentage of all other users, 40 %"
    assert [words in line["why"] for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "warning"] == [True]
    assert len([line for line in lines if words in line]) == 1


def test_who_enables_the_flag_first_means_it(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator, rolloutPercentage=0, targetSegments=[segment("Paid", 100)])
    with DAG(dag_id) as dag:
        enable = AmplitudeEnableOperator(task_id="enable", flag_key="search")
        enable >> AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    assert run(dag).states == {"enable": "success", "ramp": "success"}
    assert emulator.flag(flag_id)["rolloutPercentage"] == 100


@pytest.mark.parametrize("operator", ["enable", "edit"])
def test_a_task_that_enables_a_flag_tells_who_gets_it(
    run: Runner, emulator: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    flag(emulator, rolloutPercentage=100, targetSegments=[segment("Beta", 5), segment("Paid", 0)])
    lines: list[str] = []
    kind = AmplitudeEnableOperator if operator == "enable" else AmplitudeEditOperator
    monkeypatch.setattr(kind, "log", _Lines(lines))
    with DAG(dag_id) as dag:
        if operator == "enable":
            AmplitudeEnableOperator(task_id="on", flag_key="search")
        else:
            AmplitudeEditOperator(task_id="on", flag_key="search", fields={"enabled": True})
    assert run(dag).states == {"on": "success"}
    assert [line for line in lines if line.startswith("It is now enabled")] == [
        "It is now enabled for segment 'Beta' at 5 %, all other users at 100 %, and for its inclusions."
    ]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_segment_that_may_be_for_a_cohort_is_not_ramped_and_that_is_known_at_the_start(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deferrable: bool
) -> None:
    segments = [segment("Beta", 1, COHORT)]
    emulator.settings(hide_cohorts=True)
    emulator.load({"flags": [{"id": "7", "key": "search", "enabled": True, "targetSegments": segments}]})
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", segment="Beta", deferrable=deferrable, **broken.callback, **PLAN
        )
        staged_rollout(flag_key="search", segment="Beta", approve_before=[25], **PLAN)
        AmplitudeSetRolloutOperator(task_id="set", flag_key="search", segment="Beta", percentage=50, **broken.callback)
    ran = run(dag)

    assert ran.states["ramp"] == ran.states["set"] == ran.states["rollout.stage_1"] == "failed"
    assert "segment 'Beta' may be for a cohort" in broken.said("ramp")
    assert soaks.watches == []
    assert writes(emulator) == 0


def test_a_segment_for_everybody_is_ramped_where_catch_all_names_it(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, rolloutPercentage=40, targetSegments=[segment("Beta", 0, [])])
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", catch_all="Beta", **PLAN)
    assert run(dag).states == {"ramp": "success"}
    now = emulator.flag(flag_id)
    assert (now["enabled"], now["targetSegments"][0]["percentage"]) == (True, 100)


class _Lines:
    """A log that records its lines."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda text, *values: self._lines.append(text % values if values else text)
