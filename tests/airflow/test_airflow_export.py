"""The export of the history as a table, in real tasks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators.export import AmplitudeExportVersionsOperator

AT_ONE = datetime(2026, 3, 1, 13, tzinfo=timezone.utc)
AT_TWO = AT_ONE + timedelta(hours=1)
PARTITION = "interval_start=20260301T130000Z"


def thing(id: str, key: str, *versions: tuple[int, dict[str, Any]], project: str = "100001") -> dict[str, Any]:
    """Return a flag or experiment with a history: the fields at so many minutes after one o'clock, edited by Maria."""
    history = []
    for number, (minute, config) in enumerate(versions, 1):
        at = (AT_ONE + timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        by = config.pop("by", "Maria")
        config = {"id": id, "key": key, "projectId": project, **config}
        history.append({"version": number, "createdAt": at, "createdBy": by, "flagConfig": config})
    return {**history[-1]["flagConfig"], "history": history, "lastModifiedAt": history[-1]["createdAt"]}


@pytest.fixture(params=["feed", "lists"])
def history(emulator: Emulator, request: pytest.FixtureRequest) -> Emulator:
    """Create three flags and an experiment with a history."""
    emulator.settings(extra_endpoints=request.param == "feed")
    search = thing(
        "9001",
        "search",
        (-60, {"rolloutPercentage": 0, "enabled": False}),
        (0, {"rolloutPercentage": 5, "enabled": True, "by": "Airflow"}),
        (59, {"rolloutPercentage": 25, "enabled": True}),
    )
    quiet = thing("9002", "quiet", (-600, {}))
    gone = thing("9003", "gone", (-60, {"deleted": False}), (30, {"deleted": True}), project="100002")
    states = [(-5, {"state": "planning"}), (15, {"state": "running"}), (60, {"state": "decision-made"})]
    emulator.load({"flags": [search, quiet, gone], "experiments": [thing("9004", "button", *states)]})
    emulator.clear_requests()
    return emulator


def lines(folder: Path, partition: str = PARTITION) -> list[dict[str, Any]]:
    text = (folder / partition / "changes.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def export(folder: Path, **more: Any) -> AmplitudeExportVersionsOperator:
    given = {"start": AT_ONE.isoformat(), "end": AT_TWO.isoformat(), "path": f"file://{folder}", **more}
    return AmplitudeExportVersionsOperator(task_id="export", **given)


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (row["at"][11:16], row["kind"], row["key"], row["field"], row["from"], row["to"], row["by"]) for row in rows
    ]


def test_the_changes_of_an_interval_and_the_same_bytes_again(history: Emulator, tmp_path: Path) -> None:
    operator = export(tmp_path / "changes")
    found = operator.execute({})
    rows = lines(tmp_path / "changes")
    assert told(rows) == [
        ("13:00", "flags", "search", "enabled", False, True, "Airflow"),
        ("13:00", "flags", "search", "rolloutPercentage", 0, 5, "Airflow"),
        ("13:15", "experiments", "button", "state", "planning", "running", "Maria"),
        ("13:30", "flags", "gone", "deleted", False, True, "Maria"),
        ("13:59", "flags", "search", "rolloutPercentage", 5, 25, "Maria"),
    ]
    assert found == {"path": f"file://{tmp_path}/changes/{PARTITION}/changes.jsonl", "count": 5}
    assert {row["project_id"] for row in rows} == {"100001", "100002"}
    assert [row["version"] for row in rows] == [2, 2, 2, 2, 3]
    assert {log["method"] for log in history.request_log()} == {"GET"}

    path = tmp_path / "changes" / PARTITION / "changes.jsonl"
    before = path.read_bytes()
    path.unlink()
    history.edit("flags", rows[0]["id"], rolloutPercentage=50)
    operator.execute({})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_experiment_whose_versions_leave_out_what_it_is_shows_once(history: Emulator, tmp_path: Path) -> None:
    history.load({"experiments": [thing("9005", "tour", (1, {"state": "planning"}), (2, {"enabled": True}))]})
    export(tmp_path).execute({})
    rows = [(row["kind"], row["field"]) for row in lines(tmp_path) if row["key"] == "tour"]
    assert rows == [("experiments", "created"), ("experiments", "enabled")]


def test_what_it_asks(history: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    export(tmp_path).execute({})
    asked = history.requests()["by_route"]
    histories = asked["GET /api/1/flags/{id}/versions"] + asked["GET /api/1/experiments/{id}/versions"]
    assert histories == 3  # not of the flag without changes
    has_feed = "feed" in request.node.name
    assert history.requests()["total"] == histories + (1 if has_feed else 3)  # asked for the feed, and two lists


def test_one_project(history: Emulator, tmp_path: Path) -> None:
    assert export(tmp_path, project_id="100002").execute({})["count"] == 1
    assert [row["key"] for row in lines(tmp_path)] == ["gone"]


def test_nothing_changed(history: Emulator, tmp_path: Path) -> None:
    later = {"start": "2026-03-02T13:00:00Z", "end": "2026-03-02T14:00:00Z"}
    assert export(tmp_path, **later).execute({})["count"] == 0
    assert lines(tmp_path, "interval_start=20260302T130000Z") == []


def test_an_interval_of_a_run_in_a_real_task(
    run: Callable[..., Run], history: Emulator, dag_id: str, tmp_path: Path
) -> None:
    with DAG(dag_id, params={"folder": str(tmp_path)}) as dag:
        AmplitudeExportVersionsOperator(
            task_id="export",
            path="file://{{ params.folder }}/all",
            start="{{ macros.datetime(2026, 3, 1, 13).isoformat() }}Z",
            end="2026-03-01T15:00:00+01:00",
        )
    ran = run(dag)
    assert ran.succeeded, ran.states
    assert ran.xcom("export")["count"] == 5
    assert len(lines(tmp_path / "all")) == 5


def test_an_interval_that_is_not_over_is_waited_for_or_refused(emulator: Emulator, tmp_path: Path) -> None:
    """The service's clock counts, and no file is written."""
    emulator.advance(7200)
    flag = emulator.create_flag("search", rolloutPercentage=0)
    emulator.edit("flags", flag["id"], rolloutPercentage=5)
    now = datetime.now(timezone.utc) + timedelta(seconds=7200)
    began = (now - timedelta(hours=1)).isoformat()
    with pytest.raises(AmplitudeTaskError, match="on Amplitude's clock"):
        export(tmp_path, start=began, end=(now + timedelta(hours=1)).isoformat()).execute({})
    assert list(tmp_path.iterdir()) == []
    soon = now + timedelta(seconds=1.5)
    assert export(tmp_path, start=began, end=soon.isoformat()).execute({})["count"] == 2
    assert {row["version"] for row in lines(tmp_path, next(tmp_path.iterdir()).name)} == {1, 2}


def test_a_run_without_an_interval_says_what_to_do(emulator: Emulator, tmp_path: Path) -> None:
    operator = AmplitudeExportVersionsOperator(task_id="export", path=f"file://{tmp_path}")
    with pytest.raises(AirflowFailException, match="no data interval: name start and end"):
        operator.execute({})
    context: Any = {"data_interval_start": AT_ONE, "data_interval_end": AT_ONE}
    with pytest.raises(AirflowFailException, match="CronDataIntervalTimetable"):
        operator.execute(context)
    assert operator.execute({**context, "data_interval_end": AT_TWO})["count"] == 0  # type: ignore[typeddict-item]


def test_parquet_without_pyarrow_is_refused_before_anything_is_asked(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    emulator.clear_requests()
    with pytest.raises(AirflowFailException, match="format: parquet needs the package pyarrow"):
        export(tmp_path, format="parquet").execute({})
    assert emulator.requests()["total"] == 0


def test_parquet(history: Emulator, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    operator = export(tmp_path, format="parquet")
    operator.execute({})
    path = tmp_path / PARTITION / "changes.parquet"
    table = parquet.read_table(path, partitioning=None).to_pylist()
    assert [(row["field"], row["from"], row["to"], row["version"]) for row in table][1:3] == [
        ("rolloutPercentage", "0", "5", 2),
        ("state", '"planning"', '"running"', 2),
    ]
    before = path.read_bytes()
    operator.execute({})
    assert path.read_bytes() == before
    empty = {"start": "2026-03-02T13:00:00Z", "end": "2026-03-02T14:00:00Z"}
    export(tmp_path, format="parquet", **empty).execute({})
    found = parquet.read_table(tmp_path / "interval_start=20260302T130000Z" / "changes.parquet", partitioning=None)
    assert found.schema == parquet.read_table(path, partitioning=None).schema


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"format": "csv"}, "format"),
        ({"path": ""}, "path"),
        ({"start": "yesterday"}, "start"),
        ({"end": "2026-03-01"}, "end"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        AmplitudeExportVersionsOperator(**{"task_id": "export", "path": "file:///tmp/x", **arguments})
