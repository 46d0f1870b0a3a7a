"""Release a feature in stages: 1 %, 5 %, 25 %, everybody.

The flag is created, QA gets it at once, and then it is raised stage by stage with a soak after each. Trigger it with
other values for another flag, or set a schedule for a release at a certain hour.
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
        "retries": 3,  # after a worker's death or an outage a retry finds its place again, and no soak begins again
        "retry_delay": timedelta(seconds=30),
    },
    # With native rendering a template gives the list or number itself, not its text.
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
