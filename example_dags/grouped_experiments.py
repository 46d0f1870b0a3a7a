"""Run two experiments that exclude each other, and keep a share of the users out of both.

The mutual exclusion group has two slots, and a user is in one of them. The holdout group keeps 5 % of the users out of
both experiments. The groups are complete before an experiment starts, as Amplitude advises. The log of `ramp` reports
the share of all users at each stage. Only the live service has groups.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_ampexp.operators.groups import (
    AmplitudeAddToGroupOperator,
    AmplitudeCreateHoldoutGroupOperator,
    AmplitudeCreateMutualExclusionGroupOperator,
)
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateExperimentOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator

EXPERIMENTS = ["checkout-button", "checkout-address"]

with DAG(
    dag_id="grouped_experiments",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    render_template_as_native_obj=True,
    params={
        "stages": Param([10, 50, 100], type="array", title="Stages of both experiments (%)"),
        "soak": Param("1d", type="string", title="How long to stay at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "experiment"],
) as dag:
    create = AmplitudeCreateExperimentOperator.partial(
        task_id="create", variants=[{"key": "control"}, {"key": "treatment"}]
    ).expand(experiment_key=EXPERIMENTS)
    exclusion = AmplitudeCreateMutualExclusionGroupOperator(
        task_id="exclusion",
        mutex_key="checkout-tests",
        name="Checkout tests",
        slots=[{"percentage": 30}, {"percentage": 70}],
    )
    holdout = AmplitudeCreateHoldoutGroupOperator(
        task_id="holdout", holdout_key="no-checkout-tests", name="Without checkout tests", holdout_percentage=5
    )
    into_slot = AmplitudeAddToGroupOperator.partial(task_id="into_slot", mutex_key="checkout-tests").expand_kwargs(
        [{"experiment_key": experiment, "slot": slot} for slot, experiment in enumerate(EXPERIMENTS, 1)]
    )
    into_holdout = AmplitudeAddToGroupOperator.partial(task_id="into_holdout", holdout_key="no-checkout-tests").expand(
        experiment_key=EXPERIMENTS
    )
    ramp = AmplitudeRampRolloutOperator.partial(
        task_id="ramp", stages="{{ params.stages }}", soak="{{ params.soak }}"
    ).expand(experiment_key=EXPERIMENTS)

    create >> [exclusion, holdout]
    exclusion >> into_slot >> ramp
    holdout >> into_holdout >> ramp
