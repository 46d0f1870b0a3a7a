"""Retrain a model when its flag reaches 100 %. From that time on, the data of all users comes from the new model.

The watcher finds the change of a ramp in Airflow, and also the change of a person in Amplitude. A change starts one
run. Several changes at the same time start one run, which gets all of them.
"""

from __future__ import annotations

from airflow.sdk import DAG, AssetWatcher, task

from airflow_provider_ampexp.assets import flag_asset
from airflow_provider_ampexp.triggers.flag_changed import AmplitudeFlagChangedTrigger

model = flag_asset(
    "ranking-model-v2",
    project_id="100001",
    watchers=[
        AssetWatcher(
            name="everybody",
            trigger=AmplitudeFlagChangedTrigger(
                flag_key="ranking-model-v2", project_id="100001", to={"rolloutPercentage": 100}, poll_interval=60
            ),
        )
    ],
)

with DAG(
    dag_id="retrain_at_full_rollout", schedule=[model], catchup=False, doc_md=__doc__, tags=["amplitude", "watcher"]
) as dag:

    @task
    def retrain(triggering_asset_events: dict) -> str:
        """Train with the data since the change."""
        payload = triggering_asset_events[model][-1].extra["payload"]
        since = f"Training on data since {payload['at']}, when {payload['by']} gave {payload['key']} to everybody."
        print(since)
        return since

    retrain()
