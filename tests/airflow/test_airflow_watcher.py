"""A watched flag, and a triggerer that is killed repeatedly: each change becomes exactly one event.

The triggerer is a separate process, as in any Airflow. `AMPEXP_WATCHER_CHANGES=500 AMPEXP_WATCHER_KILLS=5` selects the
long test.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow_runs import dag_folder

from airflow_provider_ampexp.assets import experiment_asset, flag_asset
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.triggers.flag_changed import AmplitudeFlagChangedTrigger

CHANGES = int(os.environ.get("AMPEXP_WATCHER_CHANGES", "40"))
KILLS = int(os.environ.get("AMPEXP_WATCHER_KILLS", "1"))
PATIENCE = 60.0 + CHANGES / 4
HANDS = ("Ana", "Bob", "Maria")


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
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def schedule(dag: DAG) -> None:
    """Store the assets and their triggers in the database, as the DAG processor does with a file."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(dag_folder=str(dag_folder()), bundle_path=dag_folder(), bundle_name="dags-folder")
    bag.bag_dag(dag)
    for _ in range(2):  # the watchers are stored after the schedules on their asset
        sync_bag_to_db(bag, "dags-folder", None)


def unschedule() -> None:
    """Remove all watchers before the next test."""
    from airflow.models.asset import AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for asset in session.scalars(select(AssetModel)).unique():
            asset.watchers = []


def told(asset: Asset) -> list[dict[str, Any]]:
    """Return the events of the watchers of an asset, in order."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        extras = session.scalars(found.where(AssetModel.uri == asset.uri).order_by(AssetEvent.id)).all()
    assert all(extra["from_trigger"] for extra in extras)
    return [extra["payload"] for extra in extras]


def kept() -> list[Any]:
    """Return the stored watermarks of the watchers."""
    from airflow.utils.session import create_session
    from sqlalchemy import text

    with create_session() as session:
        try:
            return list(session.execute(text("select key, value from asset_state_store")))
        except Exception:  # Airflow 3.2
            session.rollback()
            return list(session.execute(text("select key, val from variable")))


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.1)


class People(threading.Thread):
    """Several actors who change a flag, one version each."""

    def __init__(self, emulator: Emulator, flag_id: str, seconds: float) -> None:
        super().__init__(daemon=True)
        self._emulator, self._flag_id, self._pause = emulator, flag_id, seconds / CHANGES
        self._chance = random.Random(7)
        self.broken: BaseException | None = None

    def run(self) -> None:
        try:
            for number in range(1, CHANGES + 1):
                by = HANDS[number % len(HANDS)]
                fields = {"rolloutPercentage": number % 100} if number % 5 else {"enabled": number % 2 == 0}
                self._emulator.edit("flags", self._flag_id, by=by, **fields)
                self._emulator.edit("flags", self._flag_id, by=by, description=str(number))  # a field without a watcher
                time.sleep(self._chance.uniform(0, 2 * self._pause))
        except BaseException as error:
            self.broken = error


@pytest.mark.usefixtures("airflow_database")
def test_no_change_is_lost_and_none_is_told_twice(emulator: Emulator, dag_id: str, tmp_path: Path) -> None:
    emulator.settings(rate_per_second=None, rate_per_day=None)
    flag = emulator.create_flag("watched-search", enabled=True, rolloutPercentage=99)
    quiet = emulator.create_flag("quiet")
    decided = emulator.create_experiment("watched-button", state="running")
    flag_trigger = AmplitudeFlagChangedTrigger(flag_key="watched-search", poll_interval=0.4)
    quiet_trigger = AmplitudeFlagChangedTrigger(flag_id=quiet["id"], poll_interval=0.4)
    decided_trigger = AmplitudeFlagChangedTrigger(
        experiment_key="watched-button", to={"state": "decision-made"}, poll_interval=0.4
    )
    project = emulator.project_id
    search = flag_asset(
        "watched-search", project_id=project, watchers=[AssetWatcher(name="search", trigger=flag_trigger)]
    )
    # An asset of another name with an equal watcher. Airflow creates one trigger for both.
    twin = Asset("twin", watchers=[AssetWatcher(name="twin", trigger=flag_trigger)])
    other = flag_asset("quiet", project_id=project, watchers=[AssetWatcher(name="quiet", trigger=quiet_trigger)])
    button = experiment_asset(
        "watched-button", project_id=project, watchers=[AssetWatcher(name="b", trigger=decided_trigger)]
    )
    schedule(DAG(dag_id, schedule=[search, twin, other, button], is_paused_upon_creation=False))
    log = tmp_path / "triggerer.log"
    people = People(emulator, flag["id"], seconds=5.0 + 10.0 * KILLS)
    chance = random.Random(11)

    def more_is_told(before: int) -> bool:
        return len(told(search)) > before or not people.is_alive()

    try:
        for place in range(KILLS + 1):
            before = len(told(search))
            with triggerer(log):  # killed at the end
                if place == 0:
                    # each watcher has polled, and sends no event for earlier changes
                    until(lambda: len({key for key, _ in kept()}) == 3)
                    people.start()
                if place < KILLS:
                    until(partial(more_is_told, before))
                    time.sleep(chance.uniform(0, 2.0))
                    continue
                people.join(PATIENCE)
                emulator.edit("experiments", decided["id"], by="Olga", decision="rollout")
                until(lambda: len(told(search)) >= CHANGES and bool(told(button)))
                time.sleep(2.0)  # for an event that would be sent twice
    except TimeoutError:
        said = f"{len(told(search))} of {CHANGES} were told"
        raise AssertionError(f"{said}, {len(told(button))} decision. {log.read_text()[-4000:]}") from people.broken
    finally:
        unschedule()

    assert people.broken is None
    assert told(other) == []
    assert told(twin) == told(search)
    versions = [event["version"] for event in told(search)]
    assert versions == sorted(set(versions))
    assert versions == [2 * number for number in range(1, CHANGES + 1)]
    assert {event["by"] for event in told(search)} == set(HANDS)
    (decision,) = told(button)
    assert (decision["by"], decision["changes"]) == ("Olga", {"state": {"from": "running", "to": "decision-made"}})
    assert emulator.api_key not in log.read_text()
    assert "amplitude_experiment_watcher is not loaded" not in log.read_text()
