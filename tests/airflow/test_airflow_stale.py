"""Stale flags: the listed flags, their reasons and times, and the number of requests."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp._keys import STALE_XCOM
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.history._stale import RULES, held_since
from airflow_provider_ampexp.operators.stale import AmplitudeStaleFlagsOperator, StaleFlag, _line

DAY = 86_400
BETA = {"name": "Beta", "conditions": [{"type": "property", "prop": "p", "op": "is", "values": ["x"]}]}
USED = {"enabled": True, "rolloutPercentage": 20}


def made(emulator: Emulator, kind: str = "flags", **fields: Any) -> str:
    create = emulator.create_flag if kind == "flags" else emulator.create_experiment
    deployments = [stored["id"] for stored in emulator.dump()["deployments"]]
    return str(create(**{"deployments": deployments, **USED, **fields})["id"])


def stale(**arguments: Any) -> dict[str, StaleFlag]:
    rows: Any = AmplitudeStaleFlagsOperator(task_id="stale", **arguments).execute({})
    return {str(row["key"]): row for row in rows}


def two(**weights: int) -> dict[str, Any]:
    return {"variants": [{"key": key} for key in weights], "rolloutWeights": weights}


SPLIT = {"rolloutWeights": {"on": 1, "off": 1}}
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "in use": ({}, []),
    "everybody": ({"rolloutPercentage": 100}, ["at 100 %"]),
    "not the segment": ({"rolloutPercentage": 100, "targetSegments": [{**BETA, "percentage": 50}]}, []),
    "one of two": ({"rolloutPercentage": 100, **two(on=3, off=0)}, ["at 100 %"]),
    "a split": ({"rolloutPercentage": 100, **two(on=1, off=1)}, []),
    "a split in the segment": (
        {"rolloutPercentage": 100, **two(on=1, off=0), "targetSegments": [{**BETA, **SPLIT, "percentage": 100}]},
        [],
    ),
    "nobody": ({"rolloutPercentage": 0}, ["at 0 %"]),
    "only the segment": ({"rolloutPercentage": 0, "targetSegments": [{**BETA, "percentage": 50}]}, []),
    "off": ({"enabled": False, "rolloutPercentage": 100}, ["disabled"]),
    "nowhere": ({"deployments": []}, ["no deployment"]),
    "off and nowhere": ({"enabled": False, "deployments": []}, ["disabled", "no deployment"]),
    "archived": ({"enabled": False, "deleted": True}, []),
}


def test_each_reason(emulator: Emulator) -> None:
    for key, (fields, _) in CASES.items():
        made(emulator, key=key, **fields)
    assert stale() == {}  # the flags are new
    emulator.advance(31 * DAY)
    found = stale()
    assert {key: list(row["reasons"]) for key, row in found.items()} == {
        key: reasons for key, (_, reasons) in CASES.items() if reasons
    }
    assert stale(days=32) == {}


@pytest.mark.parametrize(("decision", "reasons"), [("rollout", ["decided"]), ("continue-running", [])])
def test_an_experiment_that_was_decided(emulator: Emulator, decision: str, reasons: list[str]) -> None:
    made(emulator, "experiments", key="button", decision=decision)
    emulator.advance(31 * DAY)
    assert [list(row["reasons"]) for row in stale().values()] == ([reasons] if reasons else [])


def test_an_edit_of_another_field_leaves_a_flag_stale_and_a_real_one_does_not(emulator: Emulator) -> None:
    renamed = made(emulator, key="renamed", enabled=False)
    toggled = made(emulator, key="toggled", enabled=False)
    began = emulator.flag(renamed)["createdAt"]
    emulator.advance(40 * DAY)
    emulator.edit("flags", renamed, by="Maria", description="New words")
    emulator.edit("flags", toggled, enabled=True)
    emulator.edit("flags", toggled, enabled=False)
    emulator.clear_requests()
    found = stale()
    assert list(found) == ["renamed"]
    assert found["renamed"]["reasons"]["disabled"][:19] == began[:19]
    assert found["renamed"]["last_modified_by"] == "Maria"
    # the lists of flags and of experiments, and the history of each flag that was edited
    assert emulator.requests()["total"] == 2 + 2


def test_a_version_that_omits_a_field_does_not_break_the_time(emulator: Emulator) -> None:
    flag = made(emulator, key="everybody", rolloutPercentage=100)
    emulator.advance(40 * DAY)
    emulator.edit("flags", flag, description="New words")
    emulator.settings(omit_version_fields=["targetSegments"])
    assert list(stale()) == ["everybody"]
    emulator.settings(omit_version_fields=["rolloutPercentage"])
    assert stale() == {}  # the history does not show it


def test_a_row_names_the_owner_and_what_depends_on_it(emulator: Emulator) -> None:
    parent = made(emulator, key="parent", enabled=False, tags=["search"], name="Parent", createdBy="Olga")
    for kind, key in (("flags", "child"), ("experiments", "test")):
        made(emulator, kind, key=key, parentDependencies={"flags": {parent: ["on"]}, "operator": "all"})
    emulator.advance(31 * DAY)
    row = stale()["parent"]
    assert row == {
        "kind": "flags",
        "id": parent,
        "key": "parent",
        "name": "Parent",
        "reasons": row["reasons"],
        "created_by": "Olga",
        "last_modified_by": "Olga",
        "tags": ["search"],
        "depended_on_by": ["flag 'child'", "experiment 'test'"],
        "url": f"{emulator.base_url}/amplitude/{emulator.project_id}/config/{parent}",
    }
    assert stale(exclude_tags=["search"]) == {}


def test_only_the_project_of_the_connection_or_of_the_task(emulator: Emulator) -> None:
    made(emulator, key="ours", enabled=False)
    made(emulator, key="theirs", enabled=False, projectId="100002", deployments=[])
    emulator.advance(31 * DAY)
    assert list(stale()) == ["ours"]
    assert list(stale(project_id="100002")) == ["theirs"]


def test_a_flag_that_is_not_evaluated(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    with closing(sqlite3.connect(warehouse)) as db, db:
        db.execute("create table evaluations (flag text, number integer)")
        db.executemany("insert into evaluations values (?, ?)", [("busy", 9), ("idle", 0)])
    for key in ("busy", "idle", "unknown"):
        made(emulator, key=key)
    emulator.advance(31 * DAY)
    made(emulator, key="young")
    query = {"conn_id": "warehouse", "evaluations_sql": "select flag, number from evaluations"}
    assert {key: list(row["reasons"]) for key, row in stale(**query).items()} == {
        "idle": ["not evaluated"],
        "unknown": ["not evaluated"],
    }
    query["evaluations_sql"] = "select flag, 'many' from evaluations"
    with pytest.raises(AirflowFailException, match="evaluations_sql: expected rows of a key and a number"):
        stale(**query)


def test_evaluations_in_several_rows_are_added_and_none_at_all_is_an_error(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    with closing(sqlite3.connect(warehouse)) as db, db:
        db.execute("create table evaluations (flag text, variant text, number integer)")
        db.executemany("insert into evaluations values (?, ?, ?)", [("busy", "on", 9), ("busy", "off", 0)])
    made(emulator, key="busy")
    emulator.advance(31 * DAY)
    query = {"conn_id": "warehouse", "evaluations_sql": "select flag, number from evaluations order by number desc"}
    assert stale(**query) == {}
    query["evaluations_sql"] += " limit 0"
    with pytest.raises(AirflowFailException, match="evaluations_sql: expected rows of a key and a number, got no row"):
        stale(**query)


def test_a_file_and_the_bound_of_an_xcom(emulator: Emulator, tmp_path: Path) -> None:
    for key in ("a", "b"):
        made(emulator, key=key, enabled=False)
    emulator.advance(31 * DAY)
    with pytest.raises(AirflowFailException, match="more than 1 results; set path"):
        stale(max_items=1)
    path = f"file://{tmp_path}/stale.jsonl"
    written: Any = AmplitudeStaleFlagsOperator(task_id="stale", path=path, max_items=1).execute({})
    assert written == {"path": path, "count": 2}
    rows = [json.loads(line) for line in (tmp_path / "stale.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["b", "a"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"days": 0}, "days"),
        ({"days": "a month"}, "days"),
        ({"days": True}, "days"),
        ({"exclude_tags": "permanent"}, "exclude_tags"),
        ({"conn_id": "warehouse"}, "conn_id/evaluations_sql"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        AmplitudeStaleFlagsOperator(task_id="wrong", **arguments)


def test_the_page_shows_a_line_of_the_log() -> None:
    row: StaleFlag = {
        "kind": "flags",
        "id": "1",
        "key": "old-search",
        "name": "Old search",
        "reasons": {"disabled": "2026-01-12T00:00:00Z", "no deployment": "2026-01-12T00:00:00Z"},
        "created_by": "Maria",
        "last_modified_by": "Olga",
        "tags": [],
        "depended_on_by": ["flag 'search-box'"],
        "url": "",
    }
    page = (Path(__file__).parents[2] / "docs" / "operators" / "stale.md").read_text()
    assert f"```text\n{_line(row)}\n```" in page


def test_an_omitted_field_keeps_its_value() -> None:
    configs: list[Any] = [{"enabled": True}, {"enabled": False}, {"name": "x"}, {"enabled": False}]
    versions: list[Any] = [
        {"version": number, "createdAt": f"2026-01-0{number}T00:00:00Z", "flagConfig": config}
        for number, config in enumerate(configs, 1)
    ]
    assert held_since(versions[::-1], RULES["disabled"]) == datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert held_since(versions[:1], RULES["disabled"]) is None


def test_the_page_finds_the_list_by_an_xcom(run: Callable[..., Run], emulator: Emulator, dag_id: str) -> None:
    made(emulator, key="old", enabled=False)
    emulator.advance(31 * DAY)
    with DAG(dag_id) as dag:
        AmplitudeStaleFlagsOperator(task_id="stale", days="{{ 30 }}")
    ran = run(dag)
    assert ran.xcom("stale", key=STALE_XCOM) == {"amplitude_conn_id": "amplitude_experiment_default", "days": 30}
    assert [row["key"] for row in ran.xcom("stale")] == ["old"]
