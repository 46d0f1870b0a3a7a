"""Release a feature in stages. A person approves 50 %, and sees in the request which users enter.

The query returns one row for each user. The request under *Required Actions* says "25 % -> 50 %: 4,812 of 20,000 users
enter; tier: free 4,700, enterprise 112; revenue: 91,200". Below 50 % no enterprise account may enter: the rollout stops
before such a raise, and leaves the flag as it is.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.rollout import RolloutPreview
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

with DAG(
    dag_id="approved_rollout",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={
        "flag": Param("new-checkout", type="string", title="The key of the flag"),
        "soak": Param("1d", type="string", title="The soak of each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout"],
) as dag:
    staged_rollout(
        flag_key="{{ params.flag }}",
        stages=[1, 25, 50, 100],
        soak="{{ params.soak }}",
        approve_before=[50],
        preview=RolloutPreview(
            "warehouse",
            "select amplitude_id, user_id, tier, revenue from users",
            group_by=["tier"],
            sums=["revenue"],
            refuse_if={"tier": ["enterprise"]},
            refuse_below=50,
        ),
    )
