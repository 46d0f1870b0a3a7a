"""A complete Airflow on PostgreSQL with LocalExecutor, and the emulator. It records the time of tasks on workers."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2
import requests

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from benchmarks.triggerer import a_place
from tests.chaos.installation import Installation
from tests.chaos.processes import Processes, until
from tools.scratch import migrate

DAGS = Path(__file__).resolve().parent / "dags"
_SAMPLE = 0.1


class WholeAirflow:
    """A running Airflow, with the emulator."""

    def __init__(self, installation: Installation, emulator: Emulator, database_url: str) -> None:
        self.emulator = emulator
        self._installation = installation
        self._url = database_url
        self._ended = threading.Event()
        self._seconds: dict[str, float] = defaultdict(float)
        self._pids: dict[str, set[int]] = defaultdict(set)
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()

    def close(self) -> None:
        self._ended.set()
        self._sampler.join()

    def start(self, dag_id: str, soak: float = 0, flag_key: str | None = None) -> str:
        """Start a run with an enabled flag of its own at 0 %.

        :param flag_key: the flag's key; without one, it is the run's id
        :returns: the run's id
        """
        run_id = f"{dag_id}-{time.time_ns()}"
        flag_key = flag_key or run_id
        flag = self.emulator.create_flag(flag_key, enabled=True, rolloutPercentage=0, variants=[{"key": "on"}])
        body = {
            "dag_run_id": run_id,
            "logical_date": None,
            "conf": {"flag_key": flag_key, "flag_id": flag["id"], "soak": soak},
        }
        url = f"{self._installation.url}/api/v2/dags/{dag_id}/dagRuns"
        answer = self._session.post(url, json=body, timeout=60)
        answer.raise_for_status()
        return run_id

    @cached_property
    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        token = session.get(f"{self._installation.url}/auth/token", timeout=60).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        return session

    def wait_for(self, run_ids: list[str], seconds: float) -> list[str]:
        """Wait until runs have ended, and return the ids of the runs that did not succeed."""
        query = "select run_id, state from dag_run where run_id = any(%s)"
        with psycopg2.connect(self._url) as database:
            database.autocommit = True
            cursor = database.cursor()

            def states() -> dict[str, str]:
                cursor.execute(query, (run_ids,))
                return dict(cursor.fetchall())

            until(lambda: all(state in ("success", "failed") for state in states().values()), seconds)
            return [run_id for run_id, state in states().items() if state != "success"]

    def worker_seconds(self, run_id: str) -> float:
        """Return the seconds for which the run's task was running on a worker."""
        return self._seconds[run_id]

    def workers(self, run_id: str) -> int:
        """Return the number of processes in which the run's task was running."""
        return len(self._pids[run_id])

    def flag(self, key: str) -> dict[str, Any]:
        """Return the flag with a key."""
        return next(stored for stored in self.emulator.dump()["flags"] if stored["key"] == key)

    def writes(self, flag_id: str) -> list[float]:
        """Return the time of each write to a flag, in seconds since 1970."""
        return [
            datetime.fromisoformat(request["at"].replace("Z", "+00:00")).timestamp()
            for request in self.emulator.request_log()
            if request["method"] == "PATCH" and request["path"].rstrip("/").endswith(f"/{flag_id}")
        ]

    def _sample(self) -> None:
        query = "select run_id, pid from task_instance where state = 'running'"
        with psycopg2.connect(self._url) as database:
            database.autocommit = True
            cursor, last = database.cursor(), time.monotonic()
            while not self._ended.wait(_SAMPLE):
                cursor.execute(query)
                now = time.monotonic()
                for run_id, pid in cursor.fetchall():
                    self._seconds[run_id] += now - last
                    if pid is not None:
                        self._pids[run_id].add(pid)
                last = now


@contextmanager
def a_whole_airflow() -> Iterator[WholeAirflow]:
    """Run Airflow and the emulator, with the DAGs of the benchmarks."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ampexp-bench-")))
        postgres = stack.enter_context(a_place(scratch))
        server = stack.enter_context(EmulatorServer())
        emulator = Emulator(server.base_url)
        emulator.settings(rate_per_second=None)
        installation = Installation(scratch / "airflow", emulator.connection_json, postgres, None)
        installation.env |= {
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(scratch / "no-plugins"),
            "BENCH_URL": emulator.base_url,
            "BENCH_KEY": emulator.api_key,
        }
        migrate(installation.env)
        stack.enter_context(Processes(installation.parts, installation.env, scratch))
        dag_ids = ["bench-ramp", "bench-sleep", "bench-reschedule", "bench-next-stage", "bench-floor"]
        dag_ids += ["bench-sensor", "bench-templated-sensor"]
        if not until(installation.is_healthy, 120) or not until(lambda: installation.knows(dag_ids), 60):
            raise RuntimeError("Airflow did not come up.")
        airflow = WholeAirflow(installation, emulator, postgres.url("airflow"))
        stack.callback(airflow.close)
        yield airflow
