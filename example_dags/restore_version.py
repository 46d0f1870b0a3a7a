"""Restore an earlier version of a flag, after a check of the changes.

Trigger the DAG with the number of the version. The first run fails: its log lists each change, and each later edit that
the changes would undo. To restore the version, trigger the DAG again with the actors of these edits.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator

with DAG(
    dag_id="restore_version",
    schedule=None,
    catchup=False,
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    render_template_as_native_obj=True,
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "version": Param(1, type="integer", minimum=1, title="Version"),
        "overwrite": Param([], type="array", items={"type": "string"}, title="Actors whose later edits may be undone"),
    },
    doc_md=__doc__,
    tags=["amplitude"],
) as dag:
    AmplitudeRestoreVersionOperator(
        task_id="restore",
        flag_key="{{ params.flag_key }}",
        version="{{ params.version }}",
        overwrite="{{ params.overwrite }}",
    )
