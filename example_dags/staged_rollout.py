"""Release a feature in stages: 1 %, 5 %, 25 %, 100 %.

The DAG creates the flag, gives it to QA at once, and then raises it stage by stage, with a soak after each. Trigger the
DAG with other values for another flag, or set a schedule for a release at a fixed time.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.inclusions import AmplitudeAddInclusionsOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator, AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

with DAG(
    dag_id="staged_rollout",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "retries": 3,  # after a lost worker or an outage, a retry continues the rollout and does not repeat a soak
        "retry_delay": timedelta(seconds=30),
    },
    # With native rendering, the result of a template is a list or a number, not its text.
    render_template_as_native_obj=True,
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "variant": Param("on", type="string", title="Variant"),
        "qa_users": Param(["qa@example.com"], type="array", title="Who gets it first"),
        "stages": Param([1, 5, 25, 100], type="array", title="Stages (%)"),
        "soak": Param("1h", type="string", title="How long to stay at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout"],
) as dag:
    create = AmplitudeCreateFlagOperator(
        task_id="create",
        flag_key="{{ params.flag_key }}",
        variants=[{"key": "{{ params.variant }}"}],
        description="Released by {{ dag.dag_id }}",
    )
    let_qa_in = AmplitudeAddInclusionsOperator(
        task_id="let_qa_in",
        flag_key="{{ params.flag_key }}",
        variant="{{ params.variant }}",
        users="{{ params.qa_users }}",
    )
    enable = AmplitudeEnableOperator(task_id="enable", flag_key="{{ params.flag_key }}")
    ramp = AmplitudeRampRolloutOperator(
        task_id="ramp",
        flag_key="{{ params.flag_key }}",
        stages="{{ params.stages }}",
        soak="{{ params.soak }}",
        poll_interval=30,
    )
    released = AmplitudeRolloutSensor(
        task_id="released", flag_key="{{ params.flag_key }}", at_least=100, deferrable=True
    )

    create >> let_qa_in >> enable >> ramp >> released
