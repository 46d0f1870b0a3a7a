"""Release a plain flag in stages, with the users who do not have the feature yet as the control group.

The percentage lets users in by a hash of their id, which is random. So the guardrail can compare orders per user with
and without the feature, and no experiment is necessary. If the feature does harm, the rollout rolls the flag back.
`make demo-holdback` runs this DAG.

The connection `warehouse` can be any database for which Airflow has a hook. It needs a table `activity (amplitude_id,
at, orders, exposed)`: one row for a user and an hour, with 1 in `exposed` if the user saw the feature.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.guardrails import HoldbackGuardrail, SqlGuardrail
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator

# One row for each user. The first column is the flag's bucketing key.
USERS = """
    select amplitude_id, sum(orders), max(exposed) from activity
    where at >= {{ stage_started_at }} group by amplitude_id
"""
# A usual alert, for comparison. Its query mixes the users with the feature and without the feature.
ALL_USERS = """
    select round(1.0 * sum(orders) / count(distinct amplitude_id), 3), count(distinct amplitude_id) from activity
    where at >= {{ stage_started_at }}
"""

with DAG(
    dag_id="holdback_release",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
    },
    render_template_as_native_obj=True,
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "stages": Param([5, 25, 100], type="array", title="Stages (%)"),
        "soak": Param("1d", type="string", title="The time at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout", "guardrail"],
) as dag:
    create = AmplitudeCreateFlagOperator(
        task_id="create",
        flag_key="{{ params.flag_key }}",
        variants=[{"key": "on"}],
        bucketing_key="amplitude_id",
        description="Released by {{ dag.dag_id }}",
    )
    ramp = AmplitudeRampRolloutOperator(
        task_id="ramp",
        flag_key="{{ params.flag_key }}",
        stages="{{ params.stages }}",
        soak="{{ params.soak }}",
        guardrails=[
            HoldbackGuardrail("warehouse", USERS, name="orders per user", worse="lower", no_data="hold"),
            SqlGuardrail(
                "warehouse",
                ALL_USERS,
                name="orders of all users",
                at_least=1.14,  # 5 % below the usual 1.2
                min_sample=1000,
                no_data="hold",
                dry_run=True,  # it only reports
            ),
        ],
        rollback="start",
        poll_interval=30,
    )

    create >> ramp
