"""Test each week that a rollback works, before a rollout needs it.

The drill raises a flag that no user gets to 1 %, and rolls it back, with the connection of your rollouts. A revoked
key, a missing right or changes that wait for approval fail the task on a Monday morning, and not a rollback at night.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_ampexp.operators.drill import AmplitudeRollbackDrillOperator

with DAG(
    dag_id="rollback_drill",
    schedule="0 9 * * 1",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["amplitude", "emergency"],
) as dag:
    AmplitudeRollbackDrillOperator(
        task_id="drill",
        amplitude_conn_id="amplitude_experiment_default",
        flag_key="airflow-rollback-drill",
        create=True,
    )
