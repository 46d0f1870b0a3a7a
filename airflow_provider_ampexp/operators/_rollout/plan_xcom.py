"""The plan of a rollout in an XCom, for the Rollouts page.

The later tasks of a group read the time at which the rollout began.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._keys import PLAN_XCOM
from airflow_provider_ampexp.client._timestamps import parse_timestamp

if TYPE_CHECKING:
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan

_BEGAN = "began"
"""The field with the time at which the rollout began, in ISO 8601."""


def push_plan(
    context: Mapping[str, Any], plan: RolloutPlan, flag: ManagedFlag, amplitude_conn_id: str, began: datetime
) -> None:
    """Put the plan in the XCom ``amplitude_experiment_plan``, inside of a task.

    :param began: when the rollout began, on the service's clock
    """
    if (ti := context.get("ti")) is None:
        return
    value = {
        "amplitude_conn_id": amplitude_conn_id,
        "kind": flag.target.kind,
        "id": flag.id,
        "key": flag.config.get("key"),
        "plan": plan.as_json(),
        _BEGAN: began.isoformat(),
    }
    ti.xcom_push(key=PLAN_XCOM, value=value)


def began_of(pushed: object) -> datetime | None:
    """Return when the rollout began, by this XCom; ``None`` for the XCom of an older version."""
    return parse_timestamp(pushed.get(_BEGAN)) if isinstance(pushed, Mapping) else None
