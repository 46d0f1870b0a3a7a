"""A plan object, the operator, the group and a plan file take the same names and defaults."""

from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.guardrails import CheckContext
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.plans import PlanFileError, load_plan
from airflow_provider_ampexp.plans._models import PlanFile
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._plan import APPROVALS, PARAMETERS
from airflow_provider_ampexp.task_groups.rollout import staged_rollout


def healthy(_: CheckContext) -> bool:
    return True


PLAN = RolloutPlan(
    stages=[1, 5, 25], soak="2h", rollback="previous", guardrails=[healthy], check_every="30m", hold_tag="wait"
)


def ramp(**arguments: Any) -> AmplitudeRampRolloutOperator:
    with DAG("one-plan"):
        return AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **arguments)


@pytest.mark.parametrize("given", ["", None, {}, 0, "errors"], ids=repr)
def test_a_plan_without_guardrails_has_an_empty_list_of_them(given: Any) -> None:
    """Any other empty value counts as missing, because otherwise the rollout would run without its checks."""
    with pytest.raises(InvalidInputError, match=r"^guardrails: expected a list of guardrails, got"):
        RolloutPlan(stages=[1, 100], soak="1h", guardrails=given)


def test_the_operator_does_what_the_plan_says() -> None:
    said_twice = ramp(
        stages=[1, 5, 25], soak="2h", rollback="previous", guardrails=[healthy], check_every="30m", hold_tag="wait"
    )
    by_plan = ramp(plan=PLAN)
    assert by_plan.plan().as_json() == said_twice.plan().as_json()
    assert [guardrail.name for guardrail in by_plan.guardrails] == ["healthy"]
    assert by_plan.plan().all_stages[0].soak == timedelta(hours=2)


def test_a_mapped_operator_takes_a_plan() -> None:
    with DAG("mapped") as dag:
        AmplitudeRampRolloutOperator.partial(task_id="ramp", plan=PLAN).expand(flag_key=["a", "b"])
    task = dag.get_task("ramp")
    made = task.unmap({"flag_key": "a", "plan": PLAN})
    assert isinstance(made, BaseOperator)
    assert made.plan().rollback == "previous"  # type: ignore[attr-defined]


def test_the_group_does_what_the_plan_says() -> None:
    plan = RolloutPlan(stages=[1, 50, 100], soak="1h", approve_before=[50], approvers=["ana"], on_reject="hold")
    with DAG("group") as dag:
        staged_rollout(flag_key="search", plan=plan)
    tasks = [task.removeprefix("rollout.") for task in dag.task_ids]
    assert sorted(tasks) == ["approve_50", "rollback", "stage_1", "stage_100", "stage_50"]
    approval: Any = dag.get_task("rollout.approve_50")
    assert (approval.approvers, approval.on_reject) == (["ana"], "hold")
    stage: Any = dag.get_task("rollout.stage_50")
    assert stage.plan().all_stages == plan.stages


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"stages": [1, 100]}, "stages: is a part of plan"),
        ({"soak": "1h"}, "soak: is a part of plan"),
        ({"rollback": "off"}, "rollback: is a part of plan"),
        ({"guardrails": [healthy]}, "guardrails: is a part of plan"),
    ],
)
def test_what_the_plan_says_is_not_said_again(more: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        ramp(plan=PLAN, **more)
    with DAG("again"), pytest.raises(InvalidInputError, match=named):
        staged_rollout(flag_key="search", plan=PLAN, **more)


def test_approvals_need_the_group() -> None:
    with pytest.raises(InvalidInputError, match=r"plan: has approvals .* use staged_rollout"):
        ramp(plan=RolloutPlan(stages=[1, 50], soak="1h", approve_before=[50]))


@pytest.mark.parametrize("make", [ramp, lambda: staged_rollout(flag_key="a")])
def test_stages_or_a_plan_are_required(make: Any) -> None:
    with DAG("none"), pytest.raises(InvalidInputError, match="stages: is required, if no plan is given"):
        make()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"soak": None}, "soak: is missing"),
        ({"soak": ""}, "soak: "),
        ({"segment": ""}, "segment: "),
        ({"rollback": "prevous"}, "rollback: expected .* or a percentage, got 'prevous'; is 'previous' meant"),
        ({"on_drift": "stpo"}, "on_drift: expected 'stop' or 'adopt', got 'stpo'; is 'stop' meant"),
        ({"sticky": "swich_off"}, "sticky: .*is 'switch_off' meant"),
        ({"hold_timeout": "0s"}, "hold_timeout: must be greater than zero"),
        ({"soak": "99999999d"}, "soak: expected at most 3650 days, got '99999999d'"),
        ({"poll_interval": "99999999d"}, "poll_interval: expected at most 3650 days"),
        ({"check_every": timedelta(days=4000)}, "check_every: expected at most 3650 days"),
    ],
)
def test_a_wrong_plan_is_refused_at_once_wherever_it_is_given(wrong: dict[str, Any], problem: str) -> None:
    given = {"stages": [1, 5, 100], "soak": "1h", **wrong}
    with pytest.raises(InvalidInputError, match=problem):
        RolloutPlan(**given)
    with pytest.raises(InvalidInputError, match=problem):
        ramp(**given)
    with DAG("wrong"), pytest.raises(InvalidInputError, match=problem):
        staged_rollout(flag_key="search", **given)


def test_a_plan_is_loaded_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("flag: search\nstages: [1, 50]\nsoak: 1h\nrollback: off\npoll_interval: 2m\n")
    plan = load_plan(file)
    assert plan == RolloutPlan(stages=[1, 50], soak="1h", rollback="off", poll_interval="2m")
    assert ramp(plan=plan).poll_interval == 120


def test_a_file_with_mistakes_is_refused_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("flag: search\nstages: [50, 1]\nsoka: 1h\n")
    with pytest.raises(
        PlanFileError, match=r"search\.yaml:2: stages: expected rising percentages[\s\S]*search\.yaml:3: soka"
    ):
        load_plan(file)


def test_operator_group_and_file_have_the_names_and_defaults_of_the_plan() -> None:
    operator = inspect.signature(inspect.unwrap(AmplitudeRampRolloutOperator.__init__)).parameters
    group = inspect.signature(staged_rollout).parameters
    for name, default in PARAMETERS.items():
        if name not in APPROVALS:
            assert operator[name].default == default, name
        if name in group:
            assert group[name].default == default, name
        field = PlanFile.model_fields[name]
        known = default if field.is_required() or field.default in (None, []) else field.default
        assert known == default, name
