"""What Airflow itself knows, read from its metadata database: which try of which run is where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg2


@dataclass(frozen=True)
class TaskInstance:
    """The one task of a run. Airflow gives it a new id with each try."""

    id: str
    run_id: str
    state: str | None
    started: datetime | None
    queued_by: int | None
    run_state: str


class Database:
    """Read-only, one connection."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.set_session(readonly=True, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def task_instances(self) -> dict[str, TaskInstance]:
        """By run."""
        rows = self._rows(
            "select ti.id::text, ti.run_id, ti.state, ti.start_date, ti.queued_by_job_id, run.state "
            "from dag_run run join task_instance ti on ti.dag_id = run.dag_id and ti.run_id = run.run_id"
        )
        return {row[1]: TaskInstance(*row) for row in rows}

    def triggers(self) -> dict[int, int | None]:
        """The triggers that wait, and the triggerer's job that has each."""
        return dict(self._rows("select id, triggerer_id from trigger"))

    def newest_job(self, kind: str) -> int:
        """The number of the newest ``SchedulerJob`` or ``TriggererJob``; 0 when there was none."""
        return int(self._rows("select coalesce(max(id), 0) from job where job_type = %s", kind)[0][0])

    def tries(self) -> int:
        """How many tries there were of all tasks."""
        return int(self._rows("select coalesce(sum(try_number), 0) from task_instance")[0][0])

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()
