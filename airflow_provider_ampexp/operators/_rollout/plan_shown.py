"""What a rollout is about to do, where the Rollouts page finds it. Nothing that a rollout decides rests on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._keys import PLAN_XCOM

if TYPE_CHECKING:
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan


def push_plan(context: Mapping[str, Any], plan: RolloutPlan, flag: ManagedFlag, amplitude_conn_id: str) -> None:
    """Put the plan in the XCom ``amplitude_experiment_plan``. Outside of a task there is nowhere to put it."""
    if (ti := context.get("ti")) is None:
        return
    value = {
        "amplitude_conn_id": amplitude_conn_id,
        "kind": flag.target.kind,
        "id": flag.id,
        "key": flag.config.get("key"),
        "plan": plan.as_json(),
    }
    ti.xcom_push(key=PLAN_XCOM, value=value)
