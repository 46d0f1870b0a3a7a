"""A triggerer of a real Airflow on PostgreSQL, with deferred tasks, and the resources that it uses."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks.loopback import KEY, Loopback
from tests.chaos.installation import Installation
from tests.chaos.processes import Processes, adopt_orphans, until
from tests.chaos.services import Postgres
from tools.scratch import migrate


@dataclass(frozen=True)
class Use:
    """The resources that a triggerer has used up to the time ``at``."""

    at: float
    runner: float
    """CPU seconds of the process in which the triggers run."""
    supervisor: float
    """CPU seconds of the parent process, which uses the database."""
    memory: float
    """The memory of the runner in bytes, without memory that it shares with other processes."""


class Triggerer:
    """A running triggerer."""

    def __init__(self, processes: Processes, installation: Installation, database_url: str) -> None:
        self._processes = processes
        self._env = installation.env
        self._database = psycopg2.connect(database_url)
        self._database.set_session(readonly=True, autocommit=True)

    def close(self) -> None:
        self._database.close()

    def defer(self, contestant: str, first: int, last: int, flags: int, interval: float) -> None:
        """Write deferred tasks, and return when the triggerer runs all their triggers."""
        told = {"contestant": contestant, "first": first, "last": last, "flags": flags, "interval": interval}
        command = [sys.executable, "-m", "benchmarks.deferrals", json.dumps(told)]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"The tasks could not be written:\n{(done.stdout + done.stderr)[-3000:]}")
        if not until(lambda: self._rows("select count(*) from trigger where triggerer_id is null")[0][0] == 0, 120):
            raise RuntimeError("The triggerer did not take them up.")

    def events(self, contestant: str) -> dict[int, float]:
        """Return the time of the event of each finished wait, by map index, in seconds since 1970."""
        return dict(
            self._rows(
                "select map_index, extract(epoch from scheduled_dttm)::float from task_instance "
                "where dag_id = %s and state <> 'deferred' and scheduled_dttm is not null",
                f"waits-{contestant.replace(' ', '-')}",
            )
        )

    def use(self) -> Use:
        """Return the resources that the triggerer has used."""
        supervisor, runner = self._processes.of("triggerer")[:2]
        mine, its = supervisor.cpu_times(), runner.cpu_times()
        return Use(time.time(), its.user + its.system, mine.user + mine.system, runner.memory_full_info().uss)

    def is_up(self) -> bool:
        return (
            bool(self._rows("select 1 from job where job_type = 'TriggererJob' and state = 'running'"))
            and len(self._processes.of("triggerer")) > 1
        )

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._database.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()


@contextmanager
def a_place(scratch: Path) -> Iterator[Postgres]:
    """Run PostgreSQL with an Airflow database, for several triggerers one after the other."""
    adopt_orphans()
    # A triggerer keeps a log file open for each wait.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    postgres = Postgres(scratch / "postgres.log")
    with ExitStack() as stack:
        # All temporary files are in the folder of this run, so that the clean-up after another run does not find them.
        scratch.chmod(0o711)
        elsewhere, tempfile.tempdir = tempfile.tempdir, str(scratch)
        stack.callback(setattr, tempfile, "tempdir", elsewhere)
        stack.enter_context(postgres)
        postgres.make_database("airflow")
        yield postgres


@contextmanager
def a_triggerer(postgres: Postgres, server: Loopback, scratch: Path) -> Iterator[Triggerer]:
    """Run a triggerer without waits. It has connections of both kinds to the server."""
    connection = {"conn_type": "amplitude_experiment", "password": KEY, "extra": {"base_url": server.base_url}}
    installation = Installation(scratch / "airflow", json.dumps(connection), postgres, None)
    installation.env |= {
        "AIRFLOW_CONN_HTTP_DEFAULT": server.base_url,
        "AIRFLOW__CORE__DAGS_FOLDER": "/dev/null",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(scratch / "no-plugins"),
        "AIRFLOW__TRIGGERER__CAPACITY": "10000",
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "1000",
    }
    if not (scratch / "airflow").exists():
        migrate(installation.env)
    _forget_waits(postgres.url("airflow"))
    parts = {"triggerer": installation.parts["triggerer"]}
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(parts, installation.env, scratch))
        triggerer = Triggerer(processes, installation, postgres.url("airflow"))
        stack.callback(triggerer.close)
        if not until(triggerer.is_up, 90):
            raise RuntimeError(f"The triggerer did not start:\n{(scratch / 'triggerer.log').read_text()[-2000:]}")
        yield triggerer


def _forget_waits(database_url: str) -> None:
    """Remove the waits of an earlier triggerer. Otherwise the new triggerer would run them, too."""
    database = psycopg2.connect(database_url)
    try:
        with database, database.cursor() as cursor:
            # In this order, because the deletion of a trigger deletes its task, too.
            cursor.execute("update task_instance set state = 'removed', trigger_id = null where trigger_id is not null")
            cursor.execute("delete from trigger")
    finally:
        database.close()
