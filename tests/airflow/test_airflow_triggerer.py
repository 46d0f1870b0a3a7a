"""A deferred sensor, with a triggerer that is killed and started again.

The triggerer is a process of its own. The task runs in this one, and so does the loop of `dag.test`, in the place of
the scheduler. They meet in the database, as in any Airflow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

PATIENCE = 60.0


@contextmanager
def triggerer(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    quick = {
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "2",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "PYTHONWARNINGS": "ignore",
    }
    command = [str(Path(sys.executable).with_name("airflow")), "triggerer", "--skip-serve-logs"]
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **quick}, stdout=file, stderr=file, start_new_session=True
        )
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """The triggerer and the runner that it started, without a chance to say goodbye."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.1)


def test_a_deferred_sensor_survives_a_killed_triggerer(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.definitions import dag as dag_module

    run_task = dag_module._run_task
    # As `dag.test` does it, but that the trigger is left to the triggerer.
    monkeypatch.setattr(dag_module, "_run_task", lambda *, ti, task, run_triggerer: run_task(ti=ti, task=task))
    flag = emulator.create_flag("search", enabled=True, rolloutPercentage=1, variants=[{"key": "on"}])
    emulator.clear_requests()
    log = tmp_path / "triggerer.log"
    requests: dict[str, int] = {}
    broken: list[BaseException] = []

    def total() -> int:
        return int(emulator.requests()["total"])

    def people() -> None:
        try:
            with triggerer(log) as first:
                until(lambda: total() >= 4)  # the first look was the worker's
                kill(first)
                requests["killed"] = total()
            time.sleep(1.5)
            requests["without"] = total()
            with triggerer(log):
                until(lambda: total() >= requests["without"] + 2)
                emulator.edit("flags", flag["id"], rolloutPercentage=50)
                ended.wait(PATIENCE)
        except BaseException as error:
            broken.append(error)
            emulator.edit("flags", flag["id"], archive=True)

    ended = threading.Event()
    thread = threading.Thread(target=people)
    thread.start()
    with DAG(dag_id) as dag:
        AmplitudeRolloutSensor(
            task_id="wait", flag_key="search", at_least=50, poll_interval=0.3, timeout=2 * PATIENCE, deferrable=True
        )
    ran: Any = run(dag)
    ended.set()
    thread.join()

    assert not broken, log.read_text()[-3000:]
    assert ran.states == {"wait": "success"}
    assert ran.tries == {"wait": 1}
    assert ran.xcom("wait")["percentage"] == 50
    assert ran.xcom("wait", key="amplitude_url").endswith(flag["id"])
    assert requests["without"] - requests["killed"] <= 1  # one may have been on its way
    assert emulator.api_key not in log.read_text()
