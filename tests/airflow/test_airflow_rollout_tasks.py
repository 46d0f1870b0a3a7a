"""The tasks of rollouts that the Rollouts page finds in Airflow's database."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator


def state_of_runs(dag_id: str, state: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == dag_id).values(_state=state))


def test_a_long_rollout_is_not_crowded_out_by_newer_ones_that_have_ended(
    emulator: Emulator, run: Any, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.ui import _airflow_queries as airflow_queries

    ids = [f"{dag_id}_{name}" for name in ("long", "short", "shorter")]
    for object_id in ids:
        emulator.create_flag(object_id)
        with DAG(object_id) as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key=object_id, stages=[100], soak=0)
        assert run(dag).succeeded
    monkeypatch.setattr(airflow_queries, "_MOST", 2)
    assert [task.dag_id for task in airflow_queries.rollout_tasks(ids)] == [ids[2], ids[1]]
    state_of_runs(ids[0], "running")
    try:
        assert [task.dag_id for task in airflow_queries.rollout_tasks(ids)] == [ids[0], ids[2]]
    finally:
        state_of_runs(ids[0], "success")
