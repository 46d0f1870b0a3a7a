"""The DAGs of the benchmarks: rollouts in five stages, deferrals until a time, and sensors."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import Any

from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, task

from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

STAGES = [1, 5, 25, 50, 100]
PARAMS = {"flag_key": "", "flag_id": "", "soak": 5}
DAG_ARGUMENTS: dict[str, Any] = {"schedule": None, "max_active_runs": 50, "params": PARAMS}


class RolloutByRescheduling(BaseSensorOperator):
    """Set the next stage when the newest version of the flag is as old as the soak."""

    def poke(self, context: Any) -> bool:
        from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

        params = context["params"]
        with AmplitudeExperimentHook() as hook:
            flags = hook.client.flags
            now = flags.get(params["flag_id"])["rolloutPercentage"]
            newest = next(iter(flags.versions(params["flag_id"])))
            since = datetime.fromisoformat(newest["createdAt"].replace("Z", "+00:00"))
            if now == 0 or (datetime.now(timezone.utc) - since).total_seconds() >= params["soak"]:
                now = next(stage for stage in STAGES if stage > now)
                flags.edit(params["flag_id"], {"rolloutPercentage": now})
            return now == STAGES[-1]


def bare_trigger(until: float) -> Any:
    # Not at the top of the file, because the import of a trigger's base class is slow.
    from benchmarks.bare_trigger import BareTrigger

    return BareTrigger(until=until)


class BareDeferral(BaseOperator):
    """The lower limit of a deferral in Airflow: wait until a time, resume, and send one request."""

    def execute(self, context: Any) -> None:
        until = time.time() + context["params"]["soak"]
        self.defer(trigger=bare_trigger(until), method_name="resume")

    def resume(self, context: Any, event: Any) -> None:
        import requests

        url = f"{os.environ['BENCH_URL']}/api/1/flags/{context['params']['flag_id']}"
        headers = {"Authorization": f"Bearer {os.environ['BENCH_KEY']}"}
        requests.patch(url, json={"description": str(event)}, headers=headers, timeout=10).raise_for_status()


with DAG("bench-ramp", **DAG_ARGUMENTS):
    AmplitudeRampRolloutOperator(
        task_id="roll_out",
        flag_key="{{ params.flag_key }}",
        stages=STAGES,
        soak="{{ params.soak }}s",
        poll_interval=5.0,
        enable=False,
    )

with DAG("bench-sleep", **DAG_ARGUMENTS):

    @task(task_id="roll_out")
    def sleep(params: Any = None) -> None:
        from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

        with AmplitudeExperimentHook() as hook:
            for stage in STAGES:
                hook.client.flags.edit(params["flag_id"], {"rolloutPercentage": stage})
                if stage != STAGES[-1]:
                    time.sleep(params["soak"])

    sleep()

with DAG("bench-reschedule", **DAG_ARGUMENTS):
    RolloutByRescheduling(task_id="roll_out", mode="reschedule", poke_interval=5)

with DAG("bench-next-stage", **DAG_ARGUMENTS):
    AmplitudeRampRolloutOperator(
        task_id="roll_out",
        flag_key="{{ params.flag_key }}",
        stages=[1, 2],
        soak="{{ params.soak }}s",
        poll_interval=5.0,
        enable=False,
    )

with DAG("bench-floor", **DAG_ARGUMENTS):
    BareDeferral(task_id="wait")

with DAG("bench-sensor", **DAG_ARGUMENTS):
    AmplitudeRolloutSensor(task_id="wait", flag_key="of-bench-sensor", at_least=50, poll_interval=2, deferrable=True)

with DAG("bench-templated-sensor", **DAG_ARGUMENTS):
    AmplitudeRolloutSensor(
        task_id="wait", flag_key="{{ params.flag_key }}", at_least=50, poll_interval=2, deferrable=True
    )
