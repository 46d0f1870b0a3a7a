"""Release a feature in stages, and let the warehouse decide whether to go on.

At the end of each soak the error rate of those who have the feature is compared with that of those who have not. When
it is worse, the flag goes back to where it was before, at once, and the run fails with the reason. See it with
`make demo-rollback`.

The connection `warehouse` can be any database of which Airflow has a hook: Snowflake, BigQuery, PostgreSQL, SQLite and
so on. It needs a table `checkouts (flag, variant, at, failed)`: one row a checkout, `failed` being 0 or 1.
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
# Of all stages, since at 100 % nobody is without it any more.
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
        "retries": 3,  # after a worker's death or an outage a retry finds its place again, and no soak begins again
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
                at_most_of_baseline=1.05,  # 5 % more errors than without it
                min_sample=100,  # on fewer checkouts it cannot tell yet, and is asked again
                no_data="hold",  # a late warehouse is no reason to go back, nor to go on
                effect="rollback",
            )
        ],
        rollback="start",
        poll_interval=30,
    )

    create >> ramp
