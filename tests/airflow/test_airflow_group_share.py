"""The share of all users at a percentage, of an experiment in a mutual exclusion group or a holdout group."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import told

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators.preview import AmplitudePreviewRolloutOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator

PRICING = {"experiment_key": "pricing"}
LISTS = {"GET /api/1/mutexes", "GET /api/1/holdouts"}
IN_BOTH = (
    "in slot 2 (30 %) of mutual exclusion group 'tests', and in holdout group 'no-tests' (holdout percentage 5 %), so "
    "1 % is 0.285 %, 25 % is 7.125 %, 100 % is 28.5 % of all users"
)


@pytest.fixture
def experiment(emulator: Emulator) -> str:
    """Create an experiment in a slot of 30 % and in a holdout group of 5 %."""
    emulator.settings(extra_endpoints=True)
    made = emulator.create_experiment("pricing", variants=[{"key": "on"}], deployments=["1"])
    id = str(made["id"])
    slots = [{"percentage": 70}, {"percentage": 30, "experiments": [id]}]
    group = {"name": "Tests", "projectId": emulator.project_id}
    emulator.load(
        {
            "mutexes": [{"key": "tests", "slots": slots, **group}],
            "holdouts": [{"key": "no-tests", "holdoutPercentage": 5, "experiments": [id], **group}],
        }
    )
    emulator.clear_requests()
    return id


def ramp(**arguments: Any) -> AmplitudeRampRolloutOperator:
    given = {"stages": [1, 25, 100], "soak": 0, "deferrable": False, **PRICING, **arguments}
    return AmplitudeRampRolloutOperator(task_id="ramp", **given)


def lists(emulator: Emulator) -> list[str]:
    return [entry["route"] for entry in emulator.request_log() if entry["route"] in LISTS]


def test_the_start_of_a_ramp_logs_and_records_it(
    run: Callable[[DAG], Run], emulator: Emulator, experiment: str, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = told(monkeypatch)
    with DAG(dag_id) as dag:
        ramp()
    ran = run(dag)
    assert ran.succeeded
    assert [line for line in lines if "of all users" in line] == [f"experiment 'pricing': it is {IN_BOTH}."]
    notes = [line["why"] for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "note"]
    assert notes == [f"it is {IN_BOTH}."]
    assert sorted(lists(emulator)) == sorted(LISTS)


def test_a_dependency_on_a_group_is_no_unreadable_flag(
    emulator: Emulator, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor documents that an experiment in a group has the group among its parent dependencies."""
    (mutex,) = emulator.dump()["mutexes"]
    parents = {mutex["id"]: ["slot-2"], "999": ["on"]}
    emulator.edit("experiments", experiment, parentDependencies={"flags": parents, "operator": "all"})
    emulator.clear_requests()
    lines = told(monkeypatch)
    ramp().execute({})
    (line,) = [line for line in lines if "depends on" in line]
    assert "999" in line
    assert not [entry for entry in emulator.request_log() if entry["path"].endswith(f"/{mutex['id']}")]


def test_a_ramp_of_a_segment_names_its_users(
    emulator: Emulator, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beta = {"name": "Beta", "percentage": 0, "rolloutWeights": {"on": 1}}
    conditions = [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}]
    emulator.edit("experiments", experiment, targetSegments=[{**beta, "conditions": conditions}])
    lines = told(monkeypatch)
    ramp(segment="Beta", stages=[50]).execute({})
    assert [line for line in lines if line.endswith("so 50 % is 14.25 % of the users of segment 'Beta'.")]


@pytest.mark.parametrize("has_groups", [True, False])
def test_a_ramp_of_a_flag_does_not_read_groups(emulator: Emulator, has_groups: bool) -> None:
    emulator.settings(extra_endpoints=has_groups)
    emulator.create_flag("search", variants=[{"key": "on"}])
    emulator.clear_requests()
    ramp(experiment_key=None, flag_key="search").execute({})
    assert emulator.requests()["total"] == 3 + 2 * 3


def test_a_ramp_of_an_experiment_reads_each_list_once(emulator: Emulator, experiment: str) -> None:
    ramp().execute({})
    assert emulator.requests()["total"] == 3 + 2 * 3 + 2


@pytest.mark.parametrize("status", [404, 405])
def test_without_the_endpoints_of_groups_nothing_is_said(
    emulator: Emulator, experiment: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    for route in LISTS:
        emulator.fault("status", status=status, times=None, route=route)
    lines = told(monkeypatch)
    ramp().execute({})
    assert not [line for line in lines if "group" in line]
    assert emulator.experiment(experiment)["rolloutPercentage"] == 100
    assert emulator.requests()["total"] == 3 + 2 * 3 + 1


def test_an_experiment_in_no_group_has_no_note(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.settings(extra_endpoints=True)
    emulator.create_experiment("pricing", variants=[{"key": "on"}], deployments=["1"])
    lines = told(monkeypatch)
    ramp().execute({})
    assert not [line for line in lines if "group" in line]


def test_groups_that_cannot_be_read_stop_no_ramp(
    impatient: Emulator, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient.fault("status", status=500, times=None, route="GET /api/1/mutexes")
    lines = told(monkeypatch)
    ramp().execute({})
    assert impatient.experiment(experiment)["rolloutPercentage"] == 100
    (line,) = [line for line in lines if "group" in line]
    assert line.startswith("Reading the groups of experiment 'pricing' failed: GET /api/1/mutexes")


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table users (amplitude_id text, user_id text, device_id text)")
        connection.executemany("insert into users values (?, ?, null)", [(str(n), f"user-{n}") for n in range(40)])
        connection.commit()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return "select amplitude_id, user_id, device_id from users"


def preview(sql: str, **named: Any) -> AmplitudePreviewRolloutOperator:
    named = named or PRICING
    return AmplitudePreviewRolloutOperator(task_id="a", percentage=100, conn_id="warehouse", sql=sql, **named)


def test_a_preview_says_it(emulator: Emulator, experiment: str, warehouse: str) -> None:
    said = preview(warehouse).execute({})
    assert (said["enter"], said["percentage_of_all_users"]) == (40, pytest.approx(28.5))
    assert said["text"] == (
        "disabled -> 100 %: at most 40 of 40 users enter; the experiment is in slot 2 (30 %) of mutual exclusion group "
        "'tests', and in holdout group 'no-tests' (holdout percentage 5 %), so 100 % is 28.5 % of all users"
    )
    assert sorted(lists(emulator)) == sorted(LISTS)


def test_a_preview_of_an_experiment_that_depends_on_its_group_counts_the_users(
    emulator: Emulator, experiment: str, warehouse: str
) -> None:
    (mutex,) = emulator.dump()["mutexes"]
    parents = {"flags": {mutex["id"]: ["slot-2"]}, "operator": "all"}
    emulator.edit("experiments", experiment, parentDependencies=parents)
    said = preview(warehouse).execute({})
    assert (said["enter"], said["unknown"]) == (40, {})


def test_a_preview_of_a_flag_does_not_read_groups(emulator: Emulator, experiment: str, warehouse: str) -> None:
    emulator.create_flag("search", variants=[{"key": "on"}])
    said = preview(warehouse, flag_key="search").execute({})
    assert (said["text"], said["percentage_of_all_users"]) == ("disabled -> 100 %: 40 of 40 users enter", None)
    assert lists(emulator) == []


def test_a_preview_without_the_endpoints_of_groups_says_nothing(
    emulator: Emulator, experiment: str, warehouse: str
) -> None:
    emulator.settings(extra_endpoints=False)
    assert preview(warehouse).execute({})["text"] == "disabled -> 100 %: 40 of 40 users enter"


def test_a_preview_fails_if_the_groups_cannot_be_read(impatient: Emulator, experiment: str, warehouse: str) -> None:
    impatient.fault("status", status=500, times=None, route="GET /api/1/mutexes")
    with pytest.raises(AmplitudeTaskError, match=r"Failed to preview experiment 'pricing': GET /api/1/mutexes"):
        preview(warehouse).execute({})
