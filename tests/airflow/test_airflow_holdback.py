"""A rollout of a plain flag with its held-back users as the control, in a real task."""

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
from ramps import PLAN, Failures, Soaks, exposures, flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.bucketing import Bucketer
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import HoldbackGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[..., Run]
USERS = [f"user-{number}" for number in range(20_000)]
# From 25 % on, the users with the feature order half as much.
ORDERS = """
    select id, case when position < {{ percentage }} and {{ percentage }} >= 25 then 1 else 2 end * (id % 3 <> 0)
    from users
"""


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Emulator, str], list[int]]:
    """Return a function that fills the table of users, and returns the position of each user."""

    def fill(emulator: Emulator, flag_id: str) -> list[int]:
        hashed = Bucketer(emulator.flag(flag_id)["bucketingSalt"])
        positions = [hashed.bucket(number) % 100 for number in range(len(USERS))]
        path = tmp_path / "warehouse.db"
        with closing(sqlite3.connect(path)) as rows, rows:
            rows.execute("create table users (id integer, position integer)")
            rows.executemany("insert into users values (?, ?)", enumerate(positions))
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
        return positions

    return fill


def ramp(dag_id: str, **options: Any) -> DAG:
    orders = HoldbackGuardrail("warehouse", ORDERS, name="orders per user", worse="lower", no_data="hold")
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[orders], **PLAN, **options)
    return dag


def test_the_release_is_stopped_by_its_own_control(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, warehouse: Callable[[Emulator, str], list[int]]
) -> None:
    """An earlier attempt reached 60 %. Its users are not in the control of this attempt."""
    flag_id = flag(emulator, rolloutWeights={"on": 1})
    emulator.edit("flags", flag_id, enabled=True, rolloutPercentage=60)
    emulator.edit("flags", flag_id, enabled=False, rolloutPercentage=0)
    positions = warehouse(emulator, flag_id)
    ran = run(ramp(dag_id))

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 60, 0, 1, 25, 0]
    checks = [line for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "check"]
    assert [(check["stage"], check["verdict"]) for check in checks] == [(1, "pass"), (25, "fail")]
    control = sum(position >= 60 for position in positions)
    for stage, check in zip((1, 25), checks, strict=True):
        treated = sum(position < stage for position in positions)
        assert check["why"].endswith(f" among {treated:,} with the feature than among {control:,} in the control")
    assert checks[1]["value"] == pytest.approx(-0.5, abs=0.03)
    for check in checks:
        assert check["low"] < check["value"] < check["high"]
        assert (check["worse"], check["at_most_worse"]) == ("lower", None)


def test_without_a_control_nothing_is_raised(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, warehouse: Callable[[Emulator, str], list[int]]
) -> None:
    flag_id = flag(emulator, rolloutWeights={"on": 1})
    emulator.edit("flags", flag_id, enabled=True, rolloutPercentage=100)
    emulator.edit("flags", flag_id, enabled=False, rolloutPercentage=0)
    warehouse(emulator, flag_id)
    broken = Failures()
    ran = run(ramp(dag_id, **broken.callback))

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 100, 0]
    assert "no control is left: the flag is at 100 %, or was within 30 days" in broken.said("ramp")
