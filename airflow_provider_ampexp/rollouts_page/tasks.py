"""What the rollouts of this Airflow are doing, as their tasks in its database tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select

from airflow_provider_ampexp.operators.plan_shown import PLAN_XCOM
from airflow_provider_ampexp.rollout import Memory, RolloutPlan
from airflow_provider_ampexp.rollouts_page.standing import RUN_GOES_ON, RolloutTask

_RECORD_XCOM = "rollout"
_MOST = 1000  # tasks of runs that go on, and the newest besides; older ones are history


def rollout_tasks(readable_dags: Iterable[str]) -> list[RolloutTask]:
    """The tasks that carried out or carry out a rollout: those of runs that go on, then the newest.

    :param readable_dags: the ids of the DAGs that the viewer may see
    """
    readable = set(readable_dags)
    is_task_of_xcom = and_(
        *(
            getattr(TaskInstance, name) == getattr(XComModel, name)
            for name in ("dag_id", "run_id", "task_id", "map_index")
        )
    )
    query = (
        select(
            XComModel.key,
            XComModel.value,
            XComModel.timestamp,
            XComModel.dag_run_id,
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.start_date,
            TaskInstance.end_date,
            TaskInstance.next_kwargs,
            DagRun.state.label("run_state"),
            DagRun.start_date.label("run_began"),
        )
        .join(TaskInstance, is_task_of_xcom)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .where(XComModel.key.in_([PLAN_XCOM, _RECORD_XCOM]))
        .order_by(DagRun.state.in_(RUN_GOES_ON).desc(), XComModel.timestamp.desc())
        .limit(2 * _MOST)
    )
    with create_session() as session:
        rows = [row for row in session.execute(query).all() if row.dag_id in readable]
    records = {_task(row): XComModel.deserialize_value(row) for row in rows if row.key == _RECORD_XCOM}
    plans = [row for row in rows if row.key == PLAN_XCOM]
    tasks = [_read(row, XComModel.deserialize_value(row), records.get(_task(row))) for row in plans]
    return [one for one in tasks if one is not None]


def _task(row: Any) -> tuple[Any, ...]:
    return (row.dag_run_id, row.task_id, row.map_index)


def _read(row: Any, shown: Any, record: Any) -> RolloutTask | None:
    try:
        plan = RolloutPlan.from_json(shown["plan"])
        state = str(getattr(row.state, "value", row.state) or "none")
        memory, until = _waiting(row.next_kwargs) if state == "deferred" else (None, None)
        known = memory.record if memory is not None else record
        return RolloutTask(
            amplitude_conn_id=str(shown["amplitude_conn_id"]),
            kind=shown["kind"],
            flag_id=str(shown["id"]),
            dag_id=row.dag_id,
            run_id=row.run_id,
            task_id=row.task_id,
            map_index=row.map_index,
            state=state,
            run_state=str(getattr(row.run_state, "value", row.run_state)),
            run_began=row.run_began,
            began=row.timestamp,
            ended=row.end_date,
            plan=plan,
            memory=memory,
            until=until,
            record=tuple(one for one in known or () if isinstance(one, dict)),
        )
    except (KeyError, TypeError, ValueError):
        return None  # written by another version, or by somebody else under the same name


def _waiting(next_kwargs: Any) -> tuple[Memory | None, datetime | None]:
    """What a deferred task remembers, and until when it waits."""
    told = _plain(next_kwargs)
    if not isinstance(told, dict) or "memory" not in told:
        return None, None
    return Memory.from_json(told["memory"]), datetime.fromisoformat(told["watch"]["until"])


def _plain(told: Any) -> Any:
    """Airflow 3.2 writes these values with their types beside them."""
    if isinstance(told, dict):
        if set(told) == {"__type", "__var"}:
            return _plain(told["__var"])
        return {name: _plain(one) for name, one in told.items()}
    return [_plain(one) for one in told] if isinstance(told, list) else told
