"""A deferred sensor, with a triggerer that is killed and restarted.

The triggerer is a separate process. The task runs in this process, and so does the loop of `dag.test`, in place of the
scheduler. Both use the same database, as in any Airflow.
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
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run, dag_folder

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.sensors.rollout import AmplitudeEnabledSensor, AmplitudeRolloutSensor

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
    """Kill the triggerer and its runner with SIGKILL."""
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
    # The loop of `dag.test`, except that the triggerer runs the trigger.
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
                until(lambda: total() >= 4)  # the first poll was the worker's
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
    assert ran.xcom("wait", key="amplitude_experiment_url").endswith(flag["id"])
    assert requests["without"] - requests["killed"] <= 1  # one may have been in flight
    assert emulator.api_key not in log.read_text()


def test_unmapped_sensors_begin_and_end_without_a_worker_and_mapped_ones_wait_for_their_own(
    airflow_database: None, run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, tmp_path: Path
) -> None:
    """The code of the scheduler schedules the tasks, and a triggerer runs them. There is no worker here."""
    flags = {key: emulator.create_flag(key) for key in ("search", "one", "two", "button")}
    with DAG(dag_id) as dag:
        quick: dict[str, Any] = {"poll_interval": 0.3, "timeout": PATIENCE, "deferrable": True}
        AmplitudeEnabledSensor(task_id="by_key", flag_key="search", **quick)
        AmplitudeRolloutSensor(task_id="by_id", flag_id=flags["button"]["id"], at_least=10, **quick)
        AmplitudeEnabledSensor(task_id="template", flag_key="{{ 'search' }}", **quick)
        AmplitudeEnabledSensor.partial(task_id="mapped", **quick).expand(flag_key=["one", "two"])
    states = scheduled(dag)
    begin_there = Path(sys.modules["airflow.triggers"].__file__ or "").with_name("shared_stream.py").exists()
    first = "deferred" if begin_there else "scheduled"
    assert states() == {
        "by_key": first,
        "by_id": first,
        "template": "scheduled",
        "mapped[0]": "scheduled",
        "mapped[1]": "scheduled",
    }
    if not begin_there:
        return
    emulator.clear_requests()
    with triggerer(tmp_path / "triggerer.log"):
        until(lambda: emulator.requests()["total"] >= 3)
        emulator.edit("flags", flags["search"]["id"], enabled=True)
        emulator.edit("flags", flags["button"]["id"], enabled=True, rolloutPercentage=10)
        until(lambda: {states()["by_key"], states()["by_id"]} == {"success"})
    assert xcoms(dag_id, "by_key")["return_value"] == {
        "id": flags["search"]["id"],
        "key": "search",
        "enabled": True,
        "url": xcoms(dag_id, "by_key")["amplitude_experiment_url"],
    }
    assert xcoms(dag_id, "by_id")["amplitude_experiment_url"].endswith(flags["button"]["id"])


def test_each_mapped_sensor_watches_its_own_flag(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    flags = [emulator.create_flag(key) for key in ("one", "two", "three")]
    emulator.clear_requests()

    def people() -> None:
        for count, flag in enumerate(flags, 1):
            until(lambda count=count: emulator.requests()["total"] >= 3 * count)  # type: ignore[misc]
            emulator.edit("flags", flag["id"], enabled=True)

    thread = threading.Thread(target=people)
    thread.start()
    with DAG(dag_id) as dag:
        AmplitudeEnabledSensor.partial(task_id="wait", poll_interval=0.1, timeout=PATIENCE, deferrable=True).expand(
            flag_key=["one", "two", "three"]
        )
    ran = run(dag)
    thread.join()
    assert ran.succeeded, ran.states
    assert [ran.xcom("wait", map_index=index)["id"] for index in range(3)] == [flag["id"] for flag in flags]


def scheduled(dag: DAG) -> Callable[[], dict[str, str]]:
    """Begin a run of a DAG, and return a function for the states of its tasks."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.dagbag import DBDagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select, update

    bag = DagBag(dag_folder=str(dag_folder()), bundle_path=dag_folder(), bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        # The DAG is in a file, which Airflow needs when a trigger ends a task.
        session.execute(update(DagModel).where(DagModel.dag_id == dag.dag_id).values(relative_fileloc="a_dag.py"))
        kept = DBDagBag().get_latest_version_of_dag(dag.dag_id, session=session)
        assert kept is not None
        dag_run = kept.create_dagrun(
            run_id="once",
            run_after=datetime.now(timezone.utc),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        dag_run.dag = kept
        decision = dag_run.task_instance_scheduling_decisions(session=session)
        for ti in decision.schedulable_tis:
            ti.task = kept.get_task(ti.task_id)
        dag_run.schedule_tis(decision.schedulable_tis, session=session)

    def states() -> dict[str, str]:
        with create_session() as session:
            tis = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag.dag_id))
            return {
                task_instance.task_id
                if task_instance.map_index < 0
                else f"{task_instance.task_id}[{task_instance.map_index}]": str(task_instance.state)
                for task_instance in tis
            }

    return states


def xcoms(dag_id: str, task_id: str) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(XComModel).where(XComModel.dag_id == dag_id, XComModel.task_id == task_id)).all()
        return {xcom.key: XComModel.deserialize_value(xcom) for xcom in found}
