"""A group that runs some seconds after its last run, or after a change of a person. Neither belongs to the new run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import Failures, exposures, flag, writes

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
QUICK: dict[str, Any] = {"stages": [1, 50, 100], "soak": "0s", "poll_interval": 0.3}


def test_a_finished_group_that_runs_again_at_once_writes_nothing(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", **QUICK)
    assert run(dag).succeeded
    emulator.clear_requests()

    again = run(dag)
    assert again.succeeded, again.states
    assert writes(emulator) == 0
    assert exposures(emulator, flag_id) == [0, 1, 50, 100]


def test_a_finished_group_whose_next_run_fails_is_not_rolled_back(run: Runner, emulator: Emulator, dag_id: str) -> None:
    """The second run raised nothing, so it has nothing to lower."""
    flag_id = flag(emulator)

    def fails(context: Any) -> None:
        raise RuntimeError("no connection")

    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", **QUICK)
    assert run(dag).succeeded
    dag.get_task("rollout.stage_100").pre_execute = fails  # type: ignore[method-assign,union-attr]

    again = run(dag)
    assert (again.states["rollout.stage_100"], again.states["rollout.rollback"]) == ("failed", "skipped")
    assert exposures(emulator, flag_id) == [0, 1, 50, 100]


@pytest.mark.parametrize("percentage", [25, 100])
def test_a_change_of_a_person_just_before_the_run_is_the_start_of_the_run(
    run: Runner, emulator: Emulator, dag_id: str, percentage: int
) -> None:
    flag_id = flag(emulator)
    emulator.edit("flags", flag_id, by="Maria", enabled=True, rolloutPercentage=percentage)
    failures = Failures()
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", **QUICK, **failures.callback)
    ran = run(dag)
    assert ran.succeeded, ran.states
    assert exposures(emulator, flag_id) == [*dict.fromkeys([0, percentage, *([50] if percentage < 50 else []), 100])]
