"""Release a feature in stages, with a guardrail that queries the warehouse.

At the end of each soak, the guardrail compares the error rate of the users with the feature with that of the users
without it. If the rate is too high, the rollout restores the flag's exposure of before at once, and the run fails with
the reason. `make demo-rollback` runs this DAG.

The connection `warehouse` can be any database for which Airflow has a hook: Snowflake, BigQuery, PostgreSQL, SQLite and
so on. It needs a table `checkouts (flag, variant, at, failed)`: one row for each checkout, with 0 or 1 in `failed`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.guardrails import SqlGuardrail
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator

WITH_IT = """
    select 100.0 * avg(failed), count(*) from checkouts
    where flag = {{ flag_key }} and variant = 'treatment' and at >= {{ stage_started_at }}
"""
# The query covers all stages, because at 100 % no user is without the feature.
WITHOUT_IT = """
    select 100.0 * avg(failed), count(*) from checkouts
    where flag = {{ flag_key }} and variant = 'control'
"""

with DAG(
    dag_id="guarded_rollout",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "retries": 3,  # after a lost worker or an outage, a retry continues the rollout and does not repeat a soak
        "retry_delay": timedelta(seconds=30),
    },
    render_template_as_native_obj=True,
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "stages": Param([1, 5, 25, 50, 100], type="array", title="Stages (%)"),
        "soak": Param("2h", type="string", title="How long to stay at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout", "guardrail"],
) as dag:
    create = AmplitudeCreateFlagOperator(
        task_id="create",
        flag_key="{{ params.flag_key }}",
        variants=[{"key": "treatment"}],
        description="Released by {{ dag.dag_id }}",
    )
    ramp = AmplitudeRampRolloutOperator(
        task_id="ramp",
        flag_key="{{ params.flag_key }}",
        stages="{{ params.stages }}",
        soak="{{ params.soak }}",
        guardrails=[
            SqlGuardrail(
                "warehouse",
                WITH_IT,
                name="checkout errors in %",
                baseline_sql=WITHOUT_IT,
                at_most_of_baseline=1.05,  # 5 % more errors than without the feature
                min_sample=100,  # with fewer checkouts the result is inconclusive, and the guardrail runs again
                no_data="hold",  # without data the rollout waits: it neither rolls back nor continues
                effect="rollback",
            )
        ],
        rollback="start",
        poll_interval=30,
    )

    create >> ramp
