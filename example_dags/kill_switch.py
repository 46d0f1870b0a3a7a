"""Disable many flags at once in an emergency: trigger the DAG with their keys.

Each flag has its own mapped task, and all tasks run at the same time. A flag that is already disabled is left as it is.
If the task of a flag fails, for example because of a wrong key, the other tasks continue. Set
``max_active_tis_per_dag`` if the list is longer than your pool.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_provider_ampexp.operators.lifecycle import AmplitudeDisableOperator

with DAG(
    dag_id="kill_switch",
    schedule=None,
    catchup=False,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "retries": 5,
        "retry_delay": timedelta(seconds=10),
    },
    params={"flag_keys": Param(["new-checkout"], type="array", minItems=1, title="Keys of the flags to disable")},
    doc_md=__doc__,
    tags=["amplitude", "emergency"],
) as dag:

    @task
    def flags(params: dict) -> list[str]:
        """Return the given keys, each once."""
        return list(dict.fromkeys(params["flag_keys"]))

    AmplitudeDisableOperator.partial(task_id="disable").expand(flag_key=flags())
