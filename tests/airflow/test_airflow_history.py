"""The example that stores the history in a table, with runs of past hours, and a query."""

from __future__ import annotations

import importlib.util
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "flag_history.py"
TEN_PAST_TWO = datetime(2026, 3, 1, 14, 10, tzinfo=timezone.utc)


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("example_flag_history", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def version(number: int, before: timedelta, by: str, percentage: int, id: str = "9001") -> dict[str, Any]:
    at = (TEN_PAST_TWO - before).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    project_id = {"9001": "100001", "9002": "100002"}[id]
    config = {"id": id, "key": "search", "projectId": project_id, "rolloutPercentage": percentage, "enabled": True}
    return {"version": number, "createdAt": at, "createdBy": by, "flagConfig": config}


def test_what_changed_in_the_hour_before_the_dip(emulator: Emulator, run: Any, example: Any, tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    history = [
        version(1, 9 * hour, "Ana", 0),
        version(2, hour + timedelta(seconds=1), "Ana", 5),
        version(3, hour / 2, "Airflow", 25),
        version(4, timedelta(seconds=1), "Bob", 50),
        version(5, -hour / 2, "Airflow", 100),
    ]
    same_key = [version(1, 9 * hour, "Olga", 0, "9002"), version(2, hour + timedelta(minutes=5), "Olga", 1, "9002")]
    loaded: list[dict[str, Any]] = [
        {"id": "9001", "key": "search", "rolloutPercentage": 100, "history": history},
        {"id": "9002", "key": "search", "projectId": "100002", "rolloutPercentage": 1, "history": same_key},
    ]
    emulator.load({"flags": loaded})
    conf = {"database": str(tmp_path / "history.db"), "folder": f"file://{tmp_path}/changes"}
    # The hours before, one of them twice, as in a repeated backfill.
    for at in (15, 14, 14):
        ran = run(example.dag, conf, logical_date=datetime(2026, 3, 1, at, tzinfo=timezone.utc))
        assert ran.succeeded, ran.states
    assert sorted(path.parent.name for path in (tmp_path / "changes").glob("*/*")) == [
        "interval_start=20260301T130000Z",
        "interval_start=20260301T140000Z",
    ]
    with closing(sqlite3.connect(tmp_path / "history.db")) as database:
        kept = database.execute("select project, version from changes order by project, version").fetchall()
    assert kept == [*(("100001", number) for number in (2, 3, 4, 5)), ("100002", 2)]

    asked = run(example.question, {"database": conf["database"], "moment": TEN_PAST_TWO.isoformat()})
    assert asked.xcom("changes") == [
        "2026-03-01T14:09:59.000Z: Bob changed rolloutPercentage of search from 25 to 50",
        "2026-03-01T13:40:00.000Z: Airflow changed rolloutPercentage of search from 5 to 25",
    ]
