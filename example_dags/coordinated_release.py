"""Release three features that depend on one another, in two regions.

The backend is first. The API follows when the backend is at 100 %, and the frontend when the API is at 100 %. The US
comes before the EU. Each region is a separate organisation in Amplitude, with its own connection: `amplitude_us` and
`amplitude_eu`. If a task fails, each region is rolled back in reverse order, the frontend first.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator
from airflow_provider_ampexp.task_groups.release import coordinated_release

REGIONS = {"us": "amplitude_us", "eu": "amplitude_eu"}
FLAGS = ["checkout-backend", "checkout-api", "checkout-web"]  # a flag may depend on the flags before it

with DAG(
    dag_id="coordinated_release",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(seconds=30)},
    params={"soak": Param("4h", type="string", title="How long to stay at each stage")},
    doc_md=__doc__,
    tags=["amplitude", "rollout"],
) as dag:
    create = AmplitudeCreateFlagOperator.partial(task_id="create", variants=[{"key": "on"}]).expand_kwargs(
        [{"amplitude_conn_id": region, "flag_key": flag} for region in REGIONS.values() for flag in FLAGS]
    )
    # Add guardrails here, as in guarded_rollout.py. A guardrail that fails rolls back the whole release.
    create >> coordinated_release(flags=FLAGS, connections=REGIONS, stages=[5, 25, 100], soak="{{ params.soak }}")
