"""A task of a rollout has default retries, unless the DAG sets them, so that one failure does not end a rollout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup

from airflow_provider_ampexp.operators._rollout import default_retries
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

PLAN: dict[str, Any] = {"stages": [1, 100], "soak": "1h"}
RAMP: dict[str, Any] = {"task_id": "ramp", "flag_key": "search", **PLAN}
MAPPED: dict[str, Any] = {"task_id": "mapped", **PLAN}


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the default retries of users, which the other tests of this folder do not have."""
    monkeypatch.setattr(default_retries, "RETRIES", 5)


def both(default_args: dict[str, Any] | None = None, **arguments: Any) -> list[Any]:
    """Return the same task, once plain and once mapped."""
    with DAG("release", schedule=None, default_args=default_args or {}):
        plain = AmplitudeRampRolloutOperator(**RAMP, **arguments)
        mapped = AmplitudeRampRolloutOperator.partial(**MAPPED, **arguments).expand(flag_key=["search", "new"])
    return [plain, mapped, mapped.unmap({"flag_key": "new"})]


def test_a_ramp_has_retries_of_its_own_and_its_delays_grow() -> None:
    for task in both():
        assert (task.retries, task.retry_delay, task.retry_exponential_backoff, task.max_retry_delay) == (
            5,
            timedelta(seconds=30),
            2.0,
            timedelta(minutes=10),
        )


@pytest.mark.parametrize("retries", [0, 2])
def test_the_retries_of_a_task_win(retries: int) -> None:
    assert [task.retries for task in both(retries=retries)] == [retries] * 3
    assert [task.retries for task in both({"retries": 9}, retries=retries)] == [retries] * 3
    assert [task.retries for task in both(default_args={"retries": retries})] == [retries] * 3


def test_the_default_args_of_a_task_and_of_a_group_win() -> None:
    with DAG("release", schedule=None), TaskGroup("group", default_args={"retries": 0}):
        plain = AmplitudeRampRolloutOperator(**RAMP)
        mapped = AmplitudeRampRolloutOperator.partial(**MAPPED).expand(flag_key=["search"])
        own = AmplitudeRampRolloutOperator.partial(**{**MAPPED, "task_id": "own"}, default_args={"retries": 1}).expand(
            flag_key=["search"]
        )
    assert [task.retries for task in (plain, mapped, own)] == [0, 0, 1]


def test_a_delay_of_the_dag_is_neither_made_to_grow_nor_cut() -> None:
    for task in both({"retry_delay": timedelta(hours=1)}):
        assert (task.retries, task.retry_delay, task.retry_exponential_backoff, task.max_retry_delay) == (
            5,
            timedelta(hours=1),
            0,
            None,
        )


def test_more_retries_of_the_installation_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TASK_RETRIES", "7")
    assert [task.retries for task in both()] == [7] * 3
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TASK_RETRIES", "1")
    assert [task.retries for task in both()] == [5] * 3


@pytest.mark.parametrize(("arguments", "retries"), [({}, 5), ({"retries": 0}, 0)])
def test_each_task_of_a_group_has_them(arguments: dict[str, Any], retries: int) -> None:
    with DAG("release", schedule=None) as dag:
        staged_rollout(flag_key="search", approve_before=[100], **PLAN, **arguments)
    found = {task.task_id.removeprefix("rollout."): task.retries for task in dag.tasks}
    assert found == dict.fromkeys(["stage_1", "approve_100", "stage_100", "rollback"], retries)
