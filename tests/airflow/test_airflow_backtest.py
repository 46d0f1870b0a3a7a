"""A backtest of a rollout that Airflow ran has the same looks and verdicts as the rollout."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import Soaks, exposures, flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.plans import load_plan
from airflow_provider_ampexp.plans._cli import main

PLAN = """
flag: search
stages: [1, 25, 100]
soak: 1h
check_every: 20m
poll_interval: 0.1
guardrails:
  - kind: sql
    name: errors
    conn_id: warehouse
    sql: select avg(failed) from checkouts where at > {{ stage_started_at }} and at <= {{ now }}
    at_most: 0.3
    failure_limit: {limit}
    no_data: hold
"""


@pytest.mark.parametrize(
    ("limit", "verdicts"),
    [
        (1, [*["pass"] * 5, "fail"]),
        (3, [*["pass"] * 5, *["fail"] * 3]),
        (9, [*["pass"] * 5, *["fail"] * 9]),
    ],
    ids=["at the first fail", "at the third fail", "long after the soak"],
)
def test_a_backtest_has_the_looks_and_verdicts_of_the_rollout(
    run: Callable[..., Run],
    emulator: Emulator,
    dag_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: int,
    verdicts: list[str],
) -> None:
    """All checkouts fail from 90 minutes on. Each row is 2.5 minutes from a look, so that seconds do not matter."""
    soaks = Soaks(emulator, monkeypatch)
    began = soaks.now()
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("create table checkouts (at text, failed integer)")
        for minutes in range(0, 6 * 60, 5):
            at = began + timedelta(minutes=minutes + 2.5)
            database.execute("insert into checkouts values (?, ?)", (at.isoformat(" ", "seconds"), minutes >= 90))
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    file = tmp_path / "search.yaml"
    file.write_text(PLAN.replace("{limit}", str(limit)))
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", plan=load_plan(file))
    ran = run(dag)
    assert exposures(emulator, flag_id) == [0, 1, 25, 0]
    live = [line for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "check"]
    assert [line["verdict"] for line in live] == verdicts

    emulator.advance(60)
    capsys.readouterr()
    assert main(["backtest", str(file), "--since", (began - timedelta(hours=1)).isoformat(), "--json"]) == 0
    (release,) = json.loads(capsys.readouterr().out)["files"][0]["releases"]
    asked = [(look["percentage"], look["results"][0]) for look in release["looks"]]
    looks = [(percentage, result["verdict"], result["value"]) for percentage, result in asked]
    assert looks == [(line["stage"], line["verdict"], line["value"]) for line in live]
    assert release["stopped"] == release["looks"][-1]
    assert 0 <= release["earlier_by"] < 60
