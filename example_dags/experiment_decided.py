"""Clean up when a person decides an experiment in Amplitude, without a schedule, and without a sensor for weeks.

The watcher polls every minute, together with all other watchers of the connection. The decision starts this DAG, with
the author and the decision. The DAG removes the testers, and writes the author into the description. Your DAG may also
open a ticket to remove the code.

Unpause the DAG. A decision before the first unpause does not start it. A decision while no triggerer runs starts it
later.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_ampexp.assets import experiment_asset
from airflow_provider_ampexp.operators.inclusions import AmplitudeClearInclusionsOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeEditOperator
from airflow_provider_ampexp.triggers.flag_changed import AmplitudeFlagChangedTrigger

EXPERIMENT = "checkout-button"

button = experiment_asset(
    EXPERIMENT,
    project_id="100001",
    watchers=[
        AssetWatcher(
            name="decided",
            trigger=AmplitudeFlagChangedTrigger(
                experiment_key=EXPERIMENT, project_id="100001", to={"state": "decision-made"}, poll_interval=60
            ),
        )
    ],
)

with DAG(
    dag_id="experiment_decided",
    schedule=[button],
    catchup=False,
    max_active_runs=1,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "project_id": "100001",
        "experiment_key": EXPERIMENT,
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
    },
    doc_md=__doc__,
    tags=["amplitude", "watcher"],
) as dag:

    @task
    def decision(triggering_asset_events: dict) -> str:
        """Return the author and the time of the decision, for the description."""
        payload = triggering_asset_events[button][-1].extra["payload"]
        return f"Decided by {payload['by']} at {payload['at']}. Testers were removed by Airflow."

    testers_out = AmplitudeClearInclusionsOperator.partial(task_id="testers_out").expand(
        variant=["control", "treatment"]
    )
    said = AmplitudeEditOperator(task_id="say_so", fields={"description": decision()})
    testers_out >> said
