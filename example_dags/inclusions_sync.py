"""Every night, set the inclusions of a flag to the testers in a file. Other inclusions are removed.

The file has one user or device id a line. Empty lines and lines that begin with ``#`` are ignored. The file can be in
any storage of ``ObjectStoragePath``: a local folder, S3, GCS.
"""

from __future__ import annotations

import os
from datetime import datetime

from airflow.sdk import DAG, ObjectStoragePath, Param, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.operators.inclusions import AmplitudeSetInclusionsOperator

TESTERS = f"file://{os.path.dirname(os.path.abspath(__file__))}/testers.txt"

with DAG(
    dag_id="inclusions_sync",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,  # it changes a flag every night, so a person must start it on purpose
    max_active_runs=1,  # two runs at the same time would overwrite each other's list
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "variant": Param("on", type="string", title="Variant"),
        "testers": Param(TESTERS, type="string", title="File with the testers"),
    },
    doc_md=__doc__,
    tags=["amplitude", "inclusions"],
) as dag:

    @task
    def testers(path: str) -> list[str]:
        """Return the ids in the file. An empty file is an error, because it would remove all testers."""
        lines = [line.strip() for line in ObjectStoragePath(path).read_text().splitlines()]
        users = [line for line in lines if line and not line.startswith("#")]
        if not users:
            raise AirflowFailException(
                f"{path} names nobody; to remove everybody, use AmplitudeClearInclusionsOperator"
            )
        return users

    AmplitudeSetInclusionsOperator(
        task_id="sync",
        flag_key="{{ params.flag_key }}",
        variant="{{ params.variant }}",
        users=testers("{{ params.testers }}"),
    )
