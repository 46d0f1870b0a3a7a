"""Read the tasks that carry out rollouts from Airflow's database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from airflow.jobs.job import Job, JobState
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, select

from airflow_provider_ampexp._keys import PLAN_XCOM, RECORD_XCOM
from airflow_provider_ampexp.operators._rollout.plan_xcom import began_of
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._rollout_tasks import RUN_UNDER_WAY, RolloutTask

_MOST = 1000  # tasks of runs under way, then the newest
_PART = 500


def rollout_tasks(readable_dags: Iterable[str]) -> list[RolloutTask]:
    """Return the tasks that carry out or carried out a rollout: of runs under way first, then the newest.

    :param readable_dags: the ids of the DAGs that the viewer may see. The query names them, because with a filter
        after the query, hidden rollouts would count towards its limit.
    """
    readable = sorted(set(readable_dags))
    with create_session() as session:
        plans = [row for dags in in_parts(readable) for row in session.execute(_query(PLAN_XCOM, dags)).all()]
        plans = sorted(plans, key=lambda row: (row.run_state in RUN_UNDER_WAY, row.timestamp), reverse=True)[:_MOST]
        records = values_beside(session, plans, RECORD_XCOM)
        is_triggerer_alive = _is_triggerer_alive(session)
    tasks = [
        _read(row, XComModel.deserialize_value(row), records.get(place_of(row)), is_triggerer_alive) for row in plans
    ]
    return [task for task in tasks if task is not None]


def _query(key: str, dags: Sequence[str]) -> Any:
    """Select the newest XComs of this key in these DAGs, with the state of their tasks."""
    is_task_of_xcom = and_(
        *(
            getattr(TaskInstance, name) == getattr(XComModel, name)
            for name in ("dag_id", "run_id", "task_id", "map_index")
        )
    )
    return (
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
            DagModel.is_paused,
        )
        .join(TaskInstance, is_task_of_xcom)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .join(DagModel, DagModel.dag_id == XComModel.dag_id)
        .where(XComModel.key == key, XComModel.dag_id.in_(dags))
        .order_by(DagRun.state.in_(RUN_UNDER_WAY).desc(), XComModel.timestamp.desc())
        .limit(_MOST)
    )


def values_beside(session: Any, rows: Iterable[Any], key: str) -> dict[tuple[Any, ...], Any]:
    """Return the XComs of another key that the tasks of these rows pushed, by their places."""
    places = {place_of(row) for row in rows}
    runs, tasks = (sorted({place[part] for place in places}) for part in (0, 1))
    found = (
        row
        for some_runs in in_parts(runs)
        for some_tasks in in_parts(tasks)
        for row in session.execute(
            select(XComModel.value, XComModel.dag_run_id, XComModel.task_id, XComModel.map_index).where(
                XComModel.key == key, XComModel.dag_run_id.in_(some_runs), XComModel.task_id.in_(some_tasks)
            )
        ).all()
    )
    return {place_of(row): XComModel.deserialize_value(row) for row in found if place_of(row) in places}


def _is_triggerer_alive(session: Any) -> bool:
    """Return whether a triggerer has sent a heartbeat in time. Without a triggerer, a deferred task does not resume."""
    newest = session.scalars(
        select(Job)
        .where(Job.job_type == "TriggererJob", Job.state == JobState.RUNNING)
        .order_by(Job.latest_heartbeat.desc())
        .limit(1)
    ).first()
    return newest is not None and bool(newest.is_alive())


_V = TypeVar("_V")


def in_parts(values: Sequence[_V]) -> Iterator[Sequence[_V]]:
    """Yield parts of the values, because databases limit how many values a query can name."""
    return (values[first : first + _PART] for first in range(0, len(values), _PART))


def place_of(row: Any) -> tuple[Any, ...]:
    """Return the run, the task and the map index of an XCom."""
    return (row.dag_run_id, row.task_id, row.map_index)


def _read(row: Any, pushed: Any, record: Any, is_triggerer_alive: bool) -> RolloutTask | None:
    try:
        plan = RolloutPlan.from_json(pushed["plan"])
        state = str(getattr(row.state, "value", row.state) or "none")
        rollout_state, until = _waiting(row.next_kwargs) if state == "deferred" else (None, None)
        known = rollout_state.record if rollout_state is not None else record
        return RolloutTask(
            amplitude_conn_id=str(pushed["amplitude_conn_id"]),
            kind=pushed["kind"],
            flag_id=str(pushed["id"]),
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
            rollout_state=rollout_state,
            until=until,
            record=lines_of(known),
            is_paused=bool(row.is_paused),
            is_triggerer_alive=is_triggerer_alive,
            rollout_began=began_of(pushed),
        )
    except (KeyError, TypeError, ValueError):
        return None  # of another version, or a value of another task with the same key


def lines_of(record: Any) -> tuple[dict[str, Any], ...]:
    """Return the lines of a record, oldest first.

    The first versions wrote a ``hold`` line whose ``at`` is the percentage. It gets the time of the line before it,
    which is the check that failed.
    """
    lines: list[dict[str, Any]] = []
    for line in record or ():
        if isinstance(line, dict):
            if isinstance(line.get("at"), int | float):
                lines.append({**line, "stage": line["at"], "at": lines[-1].get("at") if lines else None})
            else:
                lines.append(line)
    return tuple(lines)


def _waiting(next_kwargs: Any) -> tuple[RolloutState | None, datetime | None]:
    """Return the state of a deferred task, and the end of its wait."""
    value = _plain(next_kwargs)
    if not isinstance(value, dict) or "memory" not in value:
        return None, None
    return RolloutState.from_json(value["memory"]), datetime.fromisoformat(value["watch"]["until"])


def _plain(value: Any) -> Any:
    """Return a value without its types. Airflow 3.2 writes each value with its type."""
    if isinstance(value, dict):
        if set(value) == {"__type", "__var"}:
            return _plain(value["__var"])
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
