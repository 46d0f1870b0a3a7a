"""The heartbeat of a rollout in Airflow, and the watchdog that reads it on another machine."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, Deaths, Soaks, clear, exposures, flag

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout
from airflow_provider_ampexp.watchdog import _cli as watchdog

Runner = Callable[..., Run]
MINUTE, HOUR = 60, 3600
RAMP: dict[str, Any] = {**PLAN, "flag_key": "search"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "heartbeats"


@pytest.fixture
def look(emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that runs a pass of the watchdog with its default of 1 hour, and returns the exit code."""
    monkeypatch.setenv(watchdog.KEY, emulator.api_key)
    return lambda: watchdog.main([str(folder), "--base-url", emulator.base_url])


def passes(moment: CheckContext) -> CheckResult:
    return CheckResult("pass", "no errors", 0.0)


def fails_at(percentage: int) -> Callable[[CheckContext], CheckResult]:
    def fails(moment: CheckContext) -> CheckResult:
        return CheckResult("fail" if moment.percentage >= percentage else "pass", "9 % of the requests fail", 0.09)

    return fails


def beat(folder: Path) -> dict[str, Any]:
    """Return the only heartbeat in the folder, which has no other file."""
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def at(percentage: int) -> dict[str, Any]:
    return {"percentage": percentage, "enabled": True}


def test_a_rollout_that_no_longer_runs_is_lowered_to_its_last_confirmed_stage(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, look: Callable[[], int]
) -> None:
    """The rollout resumes afterwards, and ends, because the flag was lowered, here with the rollout's own key."""
    flag_id = flag(emulator)
    codes = []

    def dead() -> None:
        watch = soaks.watches[-1]
        told = beat(folder)
        assert (told["exposure"], told["lower_to"], told["due"]) == (at(25), at(1), watch["until"])
        codes.append(look())
        soaks.end()
        for minutes in (25, 30, 10):
            emulator.advance(minutes * MINUTE)
            codes.append(look())
        codes.append(look())

    soaks.will(None, dead)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[passes], heartbeat_path=str(folder), **RAMP)
    ran = run(dag)
    assert codes == [0, 0, 3, 1, 0]
    assert exposures(emulator, flag_id) == [0, 1, 25, 1]
    assert not ran.succeeded
    assert beat(folder)["ended"] == "rolled back"


def test_a_rollout_that_runs_is_watched_and_left_alone(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, look: Callable[[], int]
) -> None:
    """Each check is 55 minutes late."""
    flag_id, codes = flag(emulator), []

    def late() -> None:
        soaks.end()
        emulator.advance(55 * MINUTE)
        codes.append(look())

    soaks.will(late, late)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[passes], heartbeat_path=f"file://{folder}", **RAMP)
    assert run(dag).succeeded
    assert codes == [3, 3]
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert beat(folder)["ended"] == "finished"
    emulator.advance(100 * HOUR)
    assert look() == 0


def test_a_worker_that_dies_right_after_a_raise_leaves_a_heartbeat_that_announces_it(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    folder: Path,
    look: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag_id = flag(emulator)
    send, raises = requests.Session.send, []

    def sent(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        response = send(session, request, **how)
        raises.extend(["raise"] * (request.method == "PATCH"))
        if len(raises) == 2:
            raise SystemExit("killed")
        return response

    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[passes], heartbeat_path=str(folder), **RAMP)
    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "send", sent)
        run(dag)
    assert exposures(emulator, flag_id) == [0, 1, 25]
    told = beat(folder)
    assert (told["exposure"], told["next_stage"], told["lower_to"]) == (at(1), 25, at(1))
    emulator.advance(HOUR + 5)
    assert look() == 1
    assert exposures(emulator, flag_id) == [0, 1, 25, 1]


def test_a_rollback_ends_the_heartbeat(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, look: Callable[[], int]
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails_at(25)], heartbeat_path=str(folder), **RAMP)
    assert not run(dag).succeeded
    assert beat(folder)["ended"] == "rolled back"
    emulator.edit("flags", flag_id, rolloutPercentage=25, enabled=True)
    emulator.advance(100 * HOUR)
    assert look() == 0
    assert exposures(emulator, flag_id)[-1] == 25


@pytest.mark.parametrize(("percentage", "ended"), [(25, "rolled back"), (101, "finished")])
def test_the_tasks_of_a_group_share_one_heartbeat(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, percentage: int, ended: str
) -> None:
    flag(emulator)
    seen: list[tuple[Any, ...]] = []

    def note() -> None:
        told = beat(folder)
        seen.append((told["exposure"], told["lower_to"], told["ended"]))
        soaks.end()

    soaks.will(note, note)
    with DAG(dag_id) as dag:
        staged_rollout(guardrails=[fails_at(percentage)], heartbeat_path=str(folder), **RAMP)
    run(dag)
    start = {"percentage": 0, "enabled": False}
    assert seen == [(at(1), start, None), (at(25), at(1), None)]
    assert beat(folder)["ended"] == ended


def test_between_two_tasks_of_a_group_the_stage_that_passed_is_confirmed(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path, look: Callable[[], int]
) -> None:
    """Airflow does not start the next task for 100 hours."""
    flag_id = flag(emulator)
    seen: list[tuple[Any, ...]] = []

    def gap(context: Any) -> None:
        emulator.advance(100 * HOUR)
        told = beat(folder)
        seen.append((look(), told["lower_to"], told["ended"]))

    with DAG(dag_id) as dag:
        staged_rollout(guardrails=[passes], heartbeat_path=str(folder), on_success_callback=gap, **RAMP)
    run(dag)
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert seen[:3] == [(0, at(1), None), (0, at(25), None), (0, at(25), "finished")]


def test_a_change_by_another_actor_ends_the_heartbeat(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, folder: Path
) -> None:
    flag_id = flag(emulator)
    soaks.will(lambda: emulator.edit("flags", flag_id, rolloutPercentage=2))
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[passes], heartbeat_path=str(folder), **RAMP)
    run(dag)
    assert beat(folder)["ended"] == "stopped"


def test_a_cleared_task_takes_the_heartbeat_over(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths, folder: Path, look: Callable[[], int]
) -> None:
    """The new attempt itself raised nothing. Its checks count, so the stage is watched from its due time."""
    flag_id = flag(emulator)

    def die() -> None:
        soaks.end()
        deaths.at(1, done=False)

    def overdue_but_alive() -> None:
        emulator.advance(30 * MINUTE)
        assert look() == 0
        soaks.end()

    soaks.will(None, die)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", guardrails=[passes], check_every="1h", heartbeat_path=str(folder), **{**RAMP, "soak": "2h"}
        )
    ran = run(dag)
    assert exposures(emulator, flag_id)[-1] == 1
    emulator.advance(20 * HOUR)
    soaks.will(overdue_but_alive)
    clear(ran, dag)
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]


def test_a_store_that_fails_is_a_warning_and_the_heartbeat_is_written_again_in_5_minutes(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flag_id = flag(emulator)
    folder.write_text("a file where the folder should be")
    soaks.will(None, None, lambda: (folder.unlink(), soaks.end()))
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[passes], heartbeat_path=str(folder), **RAMP)
    with caplog.at_level(logging.WARNING):
        assert run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert any("Writing the heartbeat to" in line.getMessage() for line in caplog.records)
    first, second, third, soak = (datetime.fromisoformat(watch["until"]) for watch in soaks.watches[:4])
    assert second - first < timedelta(minutes=6)
    assert third - second < timedelta(minutes=6)
    assert soak - third > timedelta(minutes=40)
    assert beat(folder)["ended"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"guardrails": []}, "needs guardrails"),
        ({"guardrails": [passes], "rollback": "hold"}, "other than 'hold'"),
        ({"guardrails": [passes], "heartbeat_path": ""}, "expected a folder"),
    ],
)
def test_a_heartbeat_that_helps_nobody_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as refused:
        AmplitudeRampRolloutOperator(task_id="ramp", **{"heartbeat_path": "/tmp/beats", **RAMP, **arguments})
    assert refused.value.field == "heartbeat_path"
