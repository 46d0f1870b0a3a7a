"""Show the users who enter before a raise, and do not raise while an enterprise account would enter.

The query returns a row for each user, with the flag's bucketing key and the columns of the report. The preview task
logs "25 % -> 50 %: 4,812 of 20,000 users enter; tier: free 4,700, pro 112; revenue: 91,200", and fails if an
enterprise account enters. Then `raise` does not run.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.preview import AmplitudePreviewRolloutOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator

with DAG(
    dag_id="preview_rollout",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={
        "flag": Param("new-checkout", title="The key of the flag"),
        "percentage": Param(50, title="The percentage to raise to", type="integer", minimum=0, maximum=100),
    },
    render_template_as_native_obj=True,
    doc_md=__doc__,
    tags=["amplitude", "rollout"],
) as dag:
    preview = AmplitudePreviewRolloutOperator(
        task_id="preview",
        flag_key="{{ params.flag }}",
        percentage="{{ params.percentage }}",
        conn_id="warehouse",
        sql="select amplitude_id, user_id, tier, revenue from users",
        group_by=["tier"],
        sums=["revenue"],
        refuse_if={"tier": ["enterprise"]},
    )
    preview >> AmplitudeSetRolloutOperator(
        task_id="raise", flag_key="{{ params.flag }}", percentage="{{ params.percentage }}"
    )
