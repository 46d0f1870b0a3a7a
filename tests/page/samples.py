"""A rollout that is at 5 % for half a day: the data of Airflow and Amplitude, and the page's view of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._rollout_tasks import RolloutTask, rollouts_by_flag
from airflow_provider_ampexp.ui._serializers import flag_detail, list_item

MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
NOW = MONDAY + 15 * HOUR
PLAN = RolloutPlan(parse_stages([1, 5, 25, 100], "12h"))


def version(number: int, at: datetime, by: str = "Airflow", **config: Any) -> Version:
    return {"version": number, "createdAt": at.isoformat(), "createdBy": by, "flagConfig": FlagConfig(**config)}


def flag(percentage: int = 5, enabled: bool = True, **more: Any) -> dict[str, Any]:
    shown = {"rolloutPercentage": percentage, "enabled": enabled, "tags": [], "targetSegments": []}
    return {"id": "1", "key": "new-checkout", **shown, **more}


VERSIONS = [
    version(1, MONDAY - HOUR, "Maria", **flag(0, False)),
    version(2, MONDAY, **flag(1)),
    version(3, MONDAY + 12 * HOUR, **flag(5)),
]
STATE = RolloutState(
    start=Exposure(0, False),
    last_exposure=Exposure(5, True),
    version=3,
    wrote_last=True,
    actor="Airflow",
    first_seen_at=MONDAY + 12 * HOUR,
    record=(
        {"at": MONDAY.isoformat(), "what": "raise", "from": 0, "to": 1},
        {"at": (MONDAY + 12 * HOUR).isoformat(), "what": "raise", "from": 1, "to": 5},
    ),
)


def task(**changes: Any) -> RolloutTask:
    waiting = RolloutTask(
        amplitude_conn_id="acme",
        kind="flags",
        flag_id="1",
        dag_id="release",
        run_id="run",
        task_id="ramp",
        map_index=-1,
        state="deferred",
        run_state="running",
        run_began=MONDAY - timedelta(minutes=1),
        began=MONDAY,
        ended=None,
        plan=PLAN,
        rollout_state=STATE,
        until=MONDAY + 24 * HOUR,
        record=STATE.record,
    )
    return replace(waiting, **changes)


def shown(*tasks: RolloutTask, config: dict[str, Any] | None = None, now: datetime = NOW) -> dict[str, Any]:
    """Return the list's item of the rollout."""
    rollouts = rollouts_by_flag(tasks)[("acme", "flags", "1")]
    told: dict[str, Any] = list_item("flags", FlagConfig(**(config or flag())), "", rollouts, now)["rollout"]
    return told


def detail(*tasks: RolloutTask, versions: list[Version] = VERSIONS, now: datetime = NOW) -> dict[str, Any]:
    rollouts = rollouts_by_flag(tasks).get(("acme", "flags", "1"), [])
    return flag_detail("flags", "1", versions, "", rollouts, now)
