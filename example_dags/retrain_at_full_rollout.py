"""Retrain when the flag of a model reaches 100 %: from then on all users' data comes from the new model.

A ramp in Airflow may have taken it there, or a person in Amplitude: the watcher does not mind who did it. A change that
was told starts one run; several that came together start one run that has them all.
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
        """Train on what came since then."""
        payload = triggering_asset_events[model][-1].extra["payload"]
        since = f"Training on data since {payload['at']}, when {payload['by']} gave {payload['key']} to everybody."
        print(since)
        return since

    retrain()
