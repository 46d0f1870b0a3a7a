"""An experiment from its creation to its end: start it, wait for the decision, and carry the decision out.

A person decides in Amplitude. This DAG waits for the decision for up to 90 days, without a worker. A rollout gives the
winner to all users; a rollback disables the experiment. The other task is skipped.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.deployments import (
    AmplitudeAddDeploymentsOperator,
    AmplitudeCreateDeploymentOperator,
)
from airflow_provider_ampexp.operators.inventory import AmplitudeGetOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateExperimentOperator, AmplitudeEditOperator
from airflow_provider_ampexp.sensors.experiment import AmplitudeExperimentStateSensor

EXPERIMENT = "{{ params.experiment_key }}"

with DAG(
    dag_id="experiment_lifecycle",
    schedule=None,
    catchup=False,
    default_args={"amplitude_conn_id": "amplitude_experiment_default", "retries": 3},
    render_template_as_native_obj=True,
    params={
        "experiment_key": Param("checkout-button", type="string", title="Experiment key"),
        "percentage": Param(20, type="integer", minimum=1, maximum=100, title="Who takes part (%)"),
    },
    doc_md=__doc__,
    tags=["amplitude", "experiment"],
) as dag:
    create = AmplitudeCreateExperimentOperator(
        task_id="create",
        experiment_key=EXPERIMENT,
        variants=[{"key": "control"}, {"key": "treatment"}],
        rollout_weights={"control": 1, "treatment": 1},
        experiment_type="hypothesis-testing",
    )
    deployments = [
        AmplitudeCreateDeploymentOperator(task_id=f"deployment_{kind}", label=f"shop-{kind}", deployment_type=kind)
        for kind in ("client", "server")
    ]
    assign = AmplitudeAddDeploymentsOperator(
        task_id="assign",
        experiment_key=EXPERIMENT,
        deployment_ids=["{{ ti.xcom_pull('%s')['id'] }}" % deployment.task_id for deployment in deployments],  # noqa: UP031
    )
    start = AmplitudeEditOperator(
        task_id="start",
        experiment_key=EXPERIMENT,
        fields={"rolloutPercentage": "{{ params.percentage }}", "enabled": True},
    )
    running = AmplitudeExperimentStateSensor(
        task_id="running", experiment_key=EXPERIMENT, states=["running"], poll_interval=5, deferrable=True
    )
    decided = AmplitudeExperimentStateSensor(
        task_id="decided",
        experiment_key=EXPERIMENT,
        states=["decision-made"],
        poll_interval=30,
        timeout=timedelta(days=90),
        deferrable=True,
    )
    result = AmplitudeGetOperator(task_id="result", experiment_key=EXPERIMENT, fields=["decision", "rolledOutVariant"])

    @task.branch
    def next_task(result: dict) -> str | None:
        """Choose the task of the decision; a decision to continue has none."""
        return {"rollout": "roll_out", "rollback": "roll_back"}.get(result["decision"])

    roll_out = AmplitudeDecideExperimentOperator(
        task_id="roll_out",
        experiment_key=EXPERIMENT,
        decision="rollout",
        winner="{{ ti.xcom_pull('result')['rolledOutVariant'] }}",
    )
    roll_back = AmplitudeDecideExperimentOperator(task_id="roll_back", experiment_key=EXPERIMENT, decision="rollback")

    create >> deployments >> assign >> start >> running >> decided >> result
    next_task(result.output) >> [roll_out, roll_back]
