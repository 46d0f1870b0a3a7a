"""The record of a rollout as files of JSON lines, which outlive Airflow's data and never delay a rollout."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, RETRIED, Deaths, Soaks, clear, exposures, flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout import record_file
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
TWO: dict[str, Any] = {**PLAN, "stages": [1, 25], "flag_key": "search"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rollouts"


def fails(moment: CheckContext) -> CheckResult:
    return CheckResult("pass" if moment.is_preflight else "fail", "9 % of the requests fail", 0.09)


def files(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each file by its name. The folder has no other file."""
    return {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in folder.rglob("*")
        if path.is_file()
    }


def whats(lines: list[dict[str, Any]]) -> list[str]:
    return [line["what"] for line in lines]


def test_each_task_of_a_group_writes_a_file_in_the_folder_of_its_run(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id, params={"where": str(folder)}) as dag:
        staged_rollout(guardrails=[fails], record_path="file://{{ params.where }}/", **TWO)
    ran = run(dag)

    found = files(folder)
    assert set(found) == {"rollout.stage_1.jsonl", "rollout.rollback.jsonl"}
    (run_folder,) = (folder / dag_id).iterdir()
    assert run_folder.name == ran._run.run_id
    lines = found["rollout.stage_1.jsonl"]
    assert whats(lines) == ["raise", "check", "rollback"]
    kept = ran.xcom("rollout.stage_1", key=RECORD_XCOM)
    assert [{name: line[name] for name in shown} for shown, line in zip(kept, lines, strict=True)] == kept
    assert (lines[0]["dag_id"], lines[0]["run_id"], lines[0]["task_id"]) == (dag_id, run_folder.name, "rollout.stage_1")
    assert (lines[0]["key"], lines[0]["object_id"], lines[0]["map_index"]) == ("search", flag_id, -1)


def test_a_line_is_in_the_file_while_the_task_soaks_and_no_line_is_there_twice(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths, folder: Path
) -> None:
    """The task dies when it resumes. The retry finds the raise in the history, and the file has it."""
    flag(emulator)
    seen: list[list[str]] = []

    def killed() -> None:
        seen.append([line["id"] for lines in files(folder).values() for line in lines])
        soaks.end()
        deaths.at(1, done=False)

    soaks.will(killed)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", record_path=str(folder), **TWO, **RETRIED)
    ran = run(dag)
    assert (ran.succeeded, ran.tries) == (True, {"ramp": 2})
    assert seen == [["raise-2"]]
    lines = files(folder)["ramp.jsonl"]
    assert [(line["id"], line["try_number"]) for line in lines] == [("raise-2", 1), ("raise-3", 2)]
    assert ran.xcom("ramp", key=RECORD_XCOM)[0]["rebuilt"] is True


def test_the_file_keeps_what_was_measured_before_a_clear(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path
) -> None:
    flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], record_path=str(folder), **TWO)
    ran = run(dag)
    emulator.advance(60)
    clear(ran, dag)
    lines = files(folder)["ramp.jsonl"]
    assert whats(lines) == ["raise", "check", "rollback", "lowered", "raise", "check", "rollback"]
    assert [line["try_number"] for line in lines if not line.get("rebuilt")] == [1, 1, 1, 2, 2, 2]


def test_a_store_that_fails_changes_nothing_and_gets_all_lines_when_it_is_back(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag_id = flag(emulator)
    folder.write_text("a file where the folder is to be")

    def back() -> None:
        folder.unlink()
        soaks.end()

    soaks.will(back)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", record_path=str(folder), **TWO)
    with caplog.at_level(logging.WARNING):
        assert run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25]
    (said,) = (record.getMessage() for record in caplog.records if "Writing the record" in record.getMessage())
    assert "raise-2" in said
    assert [line["id"] for line in files(folder)["ramp.jsonl"]] == ["raise-2", "raise-3"]


def test_a_rollback_does_not_wait_for_a_store_that_hangs(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go, happened = threading.Event(), []
    lower, finish = ManagedFlag.roll_back_to, record_file.RecordFile.finish

    @contextmanager
    def hangs(path: str) -> Iterator[Any]:
        happened.append("write")
        let_go.wait(100)
        raise OSError("the test is over")
        yield

    def lowered(flag: ManagedFlag, *them: Any) -> None:
        happened.append("lower")
        lower(flag, *them)

    def finished(file: record_file.RecordFile, *them: Any) -> None:
        happened.append("wait for the store")
        finish(file, *them)

    monkeypatch.setattr(record_file, "LIMIT", 0.05)
    monkeypatch.setattr(record_file, "atomic_write", hangs)
    monkeypatch.setattr(ManagedFlag, "roll_back_to", lowered)
    monkeypatch.setattr(record_file.RecordFile, "finish", finished)
    flag_id = flag(emulator)
    try:
        with DAG(dag_id) as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], record_path=str(folder), **TWO)
        with caplog.at_level(logging.WARNING):
            ran = run(dag)
    finally:
        let_go.set()
    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]
    # The write of the raise's line hangs before the soak. After the soak, the write of the check's line hangs, and the
    # flag is lowered during that time. A write runs in its own thread, so it may be later than the task's next step.
    assert [what for what in happened if what != "write"] == ["wait for the store", "lower", "wait for the store"]
    assert happened.count("write") == 2
    assert whats(ran.xcom("ramp", key=RECORD_XCOM)) == ["raise", "check", "rollback"]
    said = [record.getMessage() for record in caplog.records if "Writing the record" in record.getMessage()]
    assert "no answer within 0.05 s" in said[-1]
    assert "rollback-3" in said[-1]


def test_mapped_tasks_have_a_file_each(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path
) -> None:
    for key in ("search", "cart"):
        flag(emulator, key)
    with DAG(dag_id) as dag:
        plan = {**PLAN, "stages": [1, 25]}
        AmplitudeRampRolloutOperator.partial(task_id="ramp", record_path=str(folder), **plan).expand(
            flag_key=["search", "cart"]
        )
    assert run(dag).succeeded
    assert {name: {line["key"] for line in lines} for name, lines in files(folder).items()} == {
        "ramp+0.jsonl": {"search"},
        "ramp+1.jsonl": {"cart"},
    }


def test_no_secret_is_in_the_record(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path) -> None:
    from airflow.sdk.log import mask_secret

    secret = "of-the-warehouse-4711"

    def check(moment: CheckContext) -> CheckResult:
        mask_secret(secret)
        return CheckResult("pass", f"asked postgresql://me:{secret}@warehouse")

    flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[check], record_path=str(folder), **TWO)
    ran = run(dag)
    assert ran.succeeded
    written, kept = json.dumps(files(folder)), json.dumps(ran.xcom("ramp", key=RECORD_XCOM))
    assert "asked postgresql://me:***@warehouse" in written
    assert "asked postgresql://me:***@warehouse" in kept
    assert secret not in written + kept


@pytest.mark.parametrize(
    ("name", "part"), [("..", "%2E%2E"), ("a/b", "a%2Fb"), ("run 1", "run%201"), ("a.b", "a.b"), ("é%", "%C3%A9%25")]
)
def test_an_id_of_airflow_is_one_part_of_a_path(name: str, part: str) -> None:
    assert record_file.file_name(name) == part


def test_lines_of_others_and_half_a_line_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ramp.jsonl"
    path.write_text('[1]\n{"id": "raise-2", "what"')
    origin: Any = {"dag_id": "d"}
    file = record_file.RecordFile(str(path), origin)
    file.finish([{"id": "raise-2", "at": "2026-11-26T00:00:00+00:00", "what": "raise"}])
    first, half, line = path.read_text().splitlines()
    assert (first, half) == ("[1]", '{"id": "raise-2", "what"')
    assert json.loads(line) == {"dag_id": "d", "id": "raise-2", "at": "2026-11-26T00:00:00+00:00", "what": "raise"}


@pytest.mark.parametrize("given", [5, "", "None"])
def test_a_path_that_is_none_is_refused_while_the_dag_is_parsed(given: object) -> None:
    ramp: dict[str, Any] = {"task_id": "ramp", **TWO, "record_path": given}
    with pytest.raises(InvalidInputError, match="record_path"):
        AmplitudeRampRolloutOperator(**ramp)


def test_a_path_that_renders_to_nothing_is_refused_at_the_start_and_ignored_later(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, caplog: pytest.LogCaptureFixture
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id, params={"where": ""}) as dag:
        ramp = AmplitudeRampRolloutOperator(task_id="ramp", record_path="{{ params.where }}", **TWO)
    assert not run(dag).succeeded
    assert exposures(emulator, flag_id) == [0]

    def gone() -> None:
        ramp.record_path = ""
        soaks.end()

    soaks.will(gone)
    ramp.record_path = None
    with caplog.at_level(logging.WARNING):
        assert run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25]
    assert any("Writing the record to a file failed" in record.getMessage() for record in caplog.records)
