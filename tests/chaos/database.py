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


@dataclass(frozen=True)
class Try:
    """One try of a task, as Airflow tells it."""

    number: int
    state: str | None
    started: datetime | None
    ended: datetime | None


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

    def all_tries(self) -> dict[str, list[Try]]:
        """Every try of each run's task, oldest first."""
        found: dict[str, list[Try]] = {}
        for table in ("task_instance_history", "task_instance"):
            for row in self._rows(
                f"select run_id, try_number, state, start_date, end_date from {table} order by try_number"
            ):
                found.setdefault(row[0], []).append(Try(*row[1:]))
        return found

    def tries(self) -> int:
        """How many tries there were of all tasks."""
        return int(self._rows("select coalesce(sum(try_number), 0) from task_instance")[0][0])

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()
