"""One release of three features that depend on one another, in two regions.

The backend goes first, the API when the backend is at 100 %, the frontend when the API is; all of it in the US, then in
the EU. Each region is an organisation of its own in Amplitude and has a connection of its own: `amplitude_us` and
`amplitude_eu`. When one rollout fails, everything is switched off in reverse order, frontend first and in both regions,
so that nothing is ever on without what it depends on.

A tier may have several flags: they are mapped tasks, and the next tier waits for all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator, AmplitudeDisableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

REGIONS = {"us": "amplitude_us", "eu": "amplitude_eu"}
# Each depends on those before it.
TIERS = {"backend": ["checkout-backend"], "api": ["checkout-api"], "frontend": ["checkout-web"]}
FLAGS = [flag for flags in TIERS.values() for flag in flags]

with DAG(
    dag_id="coordinated_release",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    render_template_as_native_obj=True,
    params={
        "stages": Param([5, 25, 100], type="array", title="Stages (%)"),
        "soak": Param("4h", type="string", title="How long to stay at each stage"),
    },
    doc_md=__doc__,
    tags=["amplitude", "rollout"],
) as dag:
    create = AmplitudeCreateFlagOperator.partial(task_id="create", variants=[{"key": "on"}]).expand_kwargs(
        [{"amplitude_conn_id": region, "flag_key": flag} for region in REGIONS.values() for flag in FLAGS]
    )

    ramps, before = [], create
    for region, conn_id in REGIONS.items():
        with TaskGroup(region):
            for tier, flags in TIERS.items():
                ramp = AmplitudeRampRolloutOperator.partial(
                    task_id=tier,
                    amplitude_conn_id=conn_id,
                    stages="{{ params.stages }}",
                    soak="{{ params.soak }}",
                    poll_interval=30,
                    # Guardrails go here, as in guarded_rollout.py: one that fails takes the whole release back.
                ).expand(flag_key=flags)
                before >> ramp
                before = ramp
                ramps.append(ramp)
            # Amplitude itself is asked once more before the next region begins: someone may have changed their mind.
            released = AmplitudeRolloutSensor.partial(
                task_id="released", amplitude_conn_id=conn_id, at_least=100, deferrable=True
            ).expand(flag_key=FLAGS)
            before >> released
            before = released

    @task(trigger_rule="one_failed")
    def a_rollout_failed(task_ids: list[str], ti: Any = None) -> None:
        """Where a flag could not even be created, no rollout began: what was on before stays on."""
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=task_ids, run_ids=[ti.run_id])
        if "failed" not in states[ti.run_id].values():
            raise AirflowSkipException("No rollout has failed.")

    # This hangs on the rollouts alone: "released" stays an end of its own, and fails the run when it is not reached.
    after = a_rollout_failed([ramp.task_id for ramp in ramps])
    ramps >> after
    for tier, flags in reversed(TIERS.items()):
        roll_back = AmplitudeDisableOperator.partial(
            task_id=f"roll_back_{tier}",
            retries=10,  # what is on without what it depends on is worth some patience
        ).expand_kwargs(
            [{"amplitude_conn_id": region, "flag_key": flag} for region in REGIONS.values() for flag in flags]
        )
        after >> roll_back
        after = roll_back
