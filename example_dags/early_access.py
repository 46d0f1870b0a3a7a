"""Release a feature to a cohort first, and then in stages to all users.

The users of the cohort have the feature at any percentage. When the rollout has succeeded, the cohort is removed from
the inclusions: a later rollback then takes the feature from these users, too. Only the live service has cohorts as
inclusions.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.inclusions import AmplitudeAddCohortsOperator, AmplitudeRemoveCohortsOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator, AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator

FLAG = "{{ params.flag_key }}"
COHORT = ["{{ params.cohort }}"]

with DAG(
    dag_id="early_access",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    render_template_as_native_obj=True,
    params={
        "flag_key": Param("new-checkout", type="string", title="Flag key"),
        "cohort": Param("early-access", type="string", title="Id of the cohort that gets it first"),
        "stages": Param([5, 25, 100], type="array", title="Stages (%)"),
        "soak": Param("1d", type="string", title="How long to stay at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout", "inclusions"],
) as dag:
    create = AmplitudeCreateFlagOperator(task_id="create", flag_key=FLAG, variants=[{"key": "on"}])
    include = AmplitudeAddCohortsOperator(task_id="include", flag_key=FLAG, variant="on", cohorts=COHORT)
    enable = AmplitudeEnableOperator(task_id="enable", flag_key=FLAG)
    ramp = AmplitudeRampRolloutOperator(
        task_id="ramp", flag_key=FLAG, stages="{{ params.stages }}", soak="{{ params.soak }}"
    )
    exclude = AmplitudeRemoveCohortsOperator(task_id="exclude", flag_key=FLAG, variant="on", cohorts=COHORT)

    create >> include >> enable >> ramp >> exclude
