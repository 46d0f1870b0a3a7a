"""Store the changes of all flags in a table, and list the changes in the hour before a drop of your numbers.

`flag_history` writes the changes of each hour to a file, and loads the file into the table. An hour can run again. A
backfill loads the past: `airflow backfill create --dag-id flag_history --from-date 2026-01-01 --to-date 2026-02-01`.

Trigger `what_changed` with the time of the drop. It prints the changes in the hour before that time. This example uses
SQLite in place of your warehouse. The SQL works in other databases, and can join your own tables by time.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, ObjectStoragePath, Param, task

from airflow_provider_ampexp.operators.export import AmplitudeExportVersionsOperator

DATABASE = Param("/tmp/flag_history.db", title="The SQLite file")

with DAG(
    dag_id="flag_history",
    # Not "@hourly", because in Airflow 3 its runs have no interval, only a time.
    schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={
        "amplitude_conn_id": "amplitude_experiment_default",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
    },
    params={"folder": Param("file:///tmp/flag_history", title="Where the files go"), "database": DATABASE},
    doc_md=__doc__,
    tags=["amplitude", "history"],
) as dag:
    export = AmplitudeExportVersionsOperator(task_id="export", path="{{ params.folder }}")

    @task(max_active_tis_per_dag=1)
    def load(written: dict, params: dict, data_interval_start: datetime, data_interval_end: datetime) -> int:
        """Replace the rows of the hour in the table."""
        import sqlite3
        from contextlib import closing

        rows = [json.loads(line) for line in ObjectStoragePath(written["path"]).read_text().splitlines()]
        hour = [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in (data_interval_start, data_interval_end)]
        with closing(sqlite3.connect(params["database"], timeout=60)) as database, database:
            database.execute(
                'create table if not exists changes (at, who, project, flag, field, "from", "to", version, '
                "primary key (project, flag, version, field))"
            )
            database.execute("delete from changes where ? <= at and at < ?", hour)
            database.executemany(
                "insert into changes values (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        row["at"],
                        row["by"],
                        row["project_id"],
                        row["key"],
                        row["field"],
                        json.dumps(row["from"]),
                        json.dumps(row["to"]),
                        row["version"],
                    )
                    for row in rows
                ],
            )
        return len(rows)

    load(export.output)

with DAG(
    dag_id="what_changed",
    schedule=None,
    catchup=False,
    params={
        "moment": Param("2026-01-01T14:10:00Z", type="string", format="date-time", title="When did the numbers dip?"),
        "database": DATABASE,
    },
    doc_md=__doc__,
    tags=["amplitude", "history"],
) as question:

    @task
    def changes(params: dict) -> list[str]:
        """Return the changes in the hour before a time, newest first."""
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(params["database"])) as database:
            found = database.execute(
                """
                select at, who, flag, field, "from", "to"
                from changes
                where datetime(at) between datetime(:moment, '-1 hour') and datetime(:moment)
                order by at desc
                """,
                {"moment": params["moment"]},
            ).fetchall()
        told = [
            f"{at}: {who} changed {field} of {flag} from {before} to {after}"
            for at, who, flag, field, before, after in found
        ]
        print("\n".join(told) or "Nothing.")
        return told

    changes()
