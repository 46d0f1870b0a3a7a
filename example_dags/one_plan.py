"""Ramp several flags with one plan. The plan is in a file, and the DAG names the flags.

A plan can also be written in Python: `RolloutPlan(stages=[1, 10, 50, 100], soak="1d", rollback="previous")`. The
operator, `staged_rollout` and the file take the same names with the same defaults.
"""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.plans import load_plan

# The path is relative to this file. A mistake in the plan is an import error of this DAG, with the line.
PLAN = load_plan("rollouts/search-ranking.yaml")

with DAG(
    dag_id="one_plan", schedule=None, catchup=False, max_active_runs=1, doc_md=__doc__, tags=["amplitude", "rollout"]
) as dag:
    AmplitudeRampRolloutOperator.partial(task_id="ramp", plan=PLAN).expand(
        flag_key=["search-ranking", "search-suggestions"]
    )
