"""Read the lists of stale flags from Airflow's database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, func, select

from airflow_provider_ampexp._keys import STALE_XCOM
from airflow_provider_ampexp.ui._airflow_queries import in_parts, place_of, values_beside
from airflow_provider_ampexp.ui._stale_flags import StaleList

_MOST = 100  # lists; the newest


def stale_lists(readable_dags: Iterable[str]) -> list[StaleList]:
    """Return what each task listed in its latest run that listed anything, the newest list first.

    :param readable_dags: the ids of the DAGs that the viewer may see; the query names them
    """
    with create_session() as session:
        parts = in_parts(sorted(set(readable_dags)))
        found = [row for dags in parts for row in session.execute(_latest(dags)).all()]
        found = sorted(found, key=lambda row: row.timestamp, reverse=True)[:_MOST]
        results = values_beside(session, found, XCOM_RETURN_KEY)
    lists = [_read(row, XComModel.deserialize_value(row), results.get(place_of(row))) for row in found]
    return [listed for listed in lists if listed is not None]


def _latest(dags: Sequence[str]) -> Any:
    """Select the XComs of each task's latest run. A mapped task has one for each index."""
    latest = (
        select(XComModel.dag_id, XComModel.task_id, func.max(XComModel.dag_run_id).label("dag_run_id"))
        .where(XComModel.key == STALE_XCOM, XComModel.dag_id.in_(dags))
        .group_by(XComModel.dag_id, XComModel.task_id)
        .subquery()
    )
    is_latest = and_(XComModel.task_id == latest.c.task_id, XComModel.dag_run_id == latest.c.dag_run_id)
    return (
        select(
            XComModel.key,
            XComModel.value,
            XComModel.timestamp,
            XComModel.dag_run_id,
            XComModel.dag_id,
            XComModel.run_id,
            XComModel.task_id,
            XComModel.map_index,
        )
        .join(latest, is_latest)
        .where(XComModel.key == STALE_XCOM)
        .order_by(XComModel.timestamp.desc(), XComModel.map_index)
        .limit(_MOST)
    )


def _read(row: Any, listed: Any, result: Any) -> StaleList | None:
    if not isinstance(listed, dict) or not isinstance(listed.get("amplitude_conn_id"), str):
        return None  # of another version
    days = listed.get("days")
    return StaleList(
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        map_index=row.map_index,
        at=row.timestamp,
        amplitude_conn_id=listed["amplitude_conn_id"],
        days=days if isinstance(days, int) else None,
        result=result,
    )
