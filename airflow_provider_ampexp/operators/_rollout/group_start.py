"""The start of a group's rollout on the service's clock: the time at which its first stage observed the flag.

Airflow's own start of a run is from the scheduler's clock, so it counts from some minutes earlier. In that time can be
the last raise of the run before, or a change of a person. Neither belongs to this run.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_ampexp._keys import PLAN_XCOM
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._rollout.alerts import pull_xcoms
from airflow_provider_ampexp.operators._rollout.approval import AmplitudeApprovalOperator
from airflow_provider_ampexp.operators._rollout.plan_xcom import began_of
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.operators._rollout.base import RolloutOperator


def group_began(context: Context, operator: RolloutOperator, service_now: datetime) -> datetime | None:
    """Return when the rollout of this run began; by Airflow's start of the run if the first stage stored no time.

    A clear of an ended run sets Airflow's start again. So the later one of both counts.
    """
    by_airflow, ti = attempts.run_began(context, service_now), context.get("ti")
    first = _first_tasks(operator)
    if ti is None or not first:
        return by_airflow
    times = (by_airflow, *map(began_of, pull_xcoms(ti, "read when the rollout began", first, PLAN_XCOM)))
    return max((moment for moment in times if moment is not None), default=None)


def _first_tasks(operator: RolloutOperator) -> list[str]:
    """Return the task of the group's first stage, and of the approval before it. They begin the rollout."""
    dag, group = operator.get_dag(), operator.task_id.rpartition(".")[0]
    places = {
        task.task_id: task.percentage if isinstance(task, AmplitudeStageOperator) else task.before
        for task in (() if dag is None else dag.tasks)
        if isinstance(task, AmplitudeStageOperator | AmplitudeApprovalOperator)
        and task.task_id.rpartition(".")[0] == group
    }
    return [task for task, place in places.items() if place == min(places.values())]
