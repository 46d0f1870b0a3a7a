"""Take many flags down at once: trigger it with their keys when something is on fire.

One mapped task a flag, all at the same time. A flag that is down already is left alone, and one that fails (a typing
error in its key) does not keep the others. Add ``max_active_tis_per_dag`` if your list is longer than your pool.
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
        """The keys, as they were typed."""
        return list(dict.fromkeys(params["flag_keys"]))

    AmplitudeDisableOperator.partial(task_id="disable").expand(flag_key=flags())
