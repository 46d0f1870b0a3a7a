"""The plan of a rollout in an XCom, for the Rollouts page. The rollout itself does not read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._keys import PLAN_XCOM

if TYPE_CHECKING:
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan


def push_plan(context: Mapping[str, Any], plan: RolloutPlan, flag: ManagedFlag, amplitude_conn_id: str) -> None:
    """Put the plan in the XCom ``amplitude_experiment_plan``, inside of a task."""
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
