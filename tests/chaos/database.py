"""Read the states of tries and runs from Airflow's metadata database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg2


@dataclass(frozen=True)
class TaskInstance:
    """The only task of a run. Airflow gives it a new id with each try."""

    id: str
    run_id: str
    state: str | None
    started: datetime | None
    queued_by: int | None
    run_state: str


@dataclass(frozen=True)
class Try:
    """One try of a task, as Airflow stores it."""

    number: int
    state: str | None
    started: datetime | None
    ended: datetime | None


class Database:
    """A read-only connection to the metadata database."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.set_session(readonly=True, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def task_instances(self) -> dict[str, TaskInstance]:
        """Return the task of each run, by run id."""
        rows = self._rows(
            "select ti.id::text, ti.run_id, ti.state, ti.start_date, ti.queued_by_job_id, run.state "
            "from dag_run run join task_instance ti on ti.dag_id = run.dag_id and ti.run_id = run.run_id"
        )
        return {row[1]: TaskInstance(*row) for row in rows}

    def triggers(self) -> dict[int, int | None]:
        """Return the waiting triggers, each with the job of its triggerer."""
        return dict(self._rows("select id, triggerer_id from trigger"))

    def newest_job(self, kind: str) -> int:
        """Return the id of the newest ``SchedulerJob`` or ``TriggererJob``; 0 without one."""
        return int(self._rows("select coalesce(max(id), 0) from job where job_type = %s", kind)[0][0])

    def all_tries(self) -> dict[str, list[Try]]:
        """Return all tries of each run's task, oldest first."""
        found: dict[str, list[Try]] = {}
        for table in ("task_instance_history", "task_instance"):
            for row in self._rows(
                f"select run_id, try_number, state, start_date, end_date from {table} order by try_number"
            ):
                found.setdefault(row[0], []).append(Try(*row[1:]))
        return found

    def tries(self) -> int:
        """Return the number of tries of all tasks."""
        return int(self._rows("select coalesce(sum(try_number), 0) from task_instance")[0][0])

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()
