"""Each Monday, list the flags and experiments that are no longer of use, and archive the ones that a person chose.

The log of the task `stale` has a line for each of them: the reason, the time, the author, and the objects that depend
on it. To archive some of them, trigger the DAG with their keys. A flag that another flag in use depends on is not
archived.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param, task

from airflow_provider_ampexp.operators.lifecycle import AmplitudeArchiveOperator
from airflow_provider_ampexp.operators.stale import AmplitudeStaleFlagsOperator

with DAG(
    dag_id="stale_flags",
    schedule="0 6 * * MON",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    render_template_as_native_obj=True,
    params={
        "days": Param(60, type="integer", minimum=1, title="Stale after this many days"),
        "archive": Param([], type="array", items={"type": "string"}, title="Keys of stale flags to archive"),
    },
    doc_md=__doc__,
    tags=["amplitude", "clean-up"],
) as dag:
    stale = AmplitudeStaleFlagsOperator(task_id="stale", days="{{ params.days }}", exclude_tags=["permanent"])

    @task
    def chosen(rows: list[dict], keys: list[str]) -> list[dict]:
        """Return the target of each chosen key that is in the list."""
        arguments = {"flags": "flag_id", "experiments": "experiment_id"}
        return [{arguments[row["kind"]]: row["id"]} for row in rows if row["key"] in keys]

    AmplitudeArchiveOperator.partial(task_id="archive", if_depended_on="fail").expand_kwargs(
        chosen(stale.output, "{{ params.archive }}")
    )
