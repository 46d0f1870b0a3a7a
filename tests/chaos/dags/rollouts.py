"""One DAG for each kind of rollout; one run of it is one rollout."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_ampexp.guardrails import CallableGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from tests.chaos.kinds import ALL_KINDS
from tests.chaos.signals import Signals

DAGS: dict[str, DAG] = {}

for kind in ALL_KINDS.values():
    with DAG(
        dag_id=f"chaos-{kind.name}",
        schedule=None,
        max_active_runs=100,
        params={"flag_key": ""},
        # Every kill costs a try. How many there are is not what is tried here.
        default_args={"retries": 200, "retry_delay": timedelta(seconds=1)},
    ) as dag:
        DAGS[dag.dag_id] = dag
        check = kind.check
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="{{ params.flag_key }}",
            amplitude_conn_id=kind.connection or "amplitude_experiment_default",
            stages=kind.stages,
            guardrails=[]
            if check is None
            else [
                CallableGuardrail(
                    check,
                    "check",
                    effect=check.effect,
                    failure_limit=check.limit,
                    inconclusive_limit=check.limit,
                    error_limit=check.limit,
                )
            ],
            poll_interval=1.0,
            heartbeat_path=str(Signals.of_this_process().heartbeats) if kind.has_heartbeat else None,
            **kind.arguments,
        )
