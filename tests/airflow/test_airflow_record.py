"""The record of a rollout in the XCom ``rollout``: complete, correct, and readable during the rollout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, RETRIED, Deaths, Soaks, began, clear, exposures, flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]


def kept(dag_id: str, task_id: str = "ramp") -> list[dict[str, Any]]:
    """Return the record in Airflow's database, during the run."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    named = {"dag_id": dag_id, "task_id": task_id, "key": RECORD_XCOM}
    with create_session() as session:
        found = session.query(XComModel).filter_by(**named).first()
        return [] if found is None else list(XComModel.deserialize_value(found))


def whats(record: list[dict[str, Any]]) -> list[str]:
    return [line["what"] for line in record]


def fails_at(percentage: int) -> Callable[[CheckContext], CheckResult]:
    return lambda moment: CheckResult(
        "fail" if moment.percentage == percentage else "pass", "9 % of the requests fail", 0.09
    )


def test_each_line_has_an_id_its_version_where_the_flag_stood_and_the_plan(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[fails_at(25)], **PLAN)
    record = run(dag).xcom("ramp", key="amplitude_experiment_record")

    assert whats(record) == ["raise", "check", "raise", "check", "rollback"]
    assert [(line["version"], line["percentage"], line["enabled"]) for line in record] == [
        (2, 1, True),
        (2, 1, True),
        (3, 25, True),
        (3, 25, True),
        (4, 0, False),
    ]
    assert len({line["id"] for line in record}) == 5
    assert len({line["plan"] for line in record}) == 1
    made = dict(enumerate(began(emulator, flag_id), 1))
    for line in record:
        if line["what"] != "check":
            assert line["made_at"] == made[line["version"]].isoformat(timespec="seconds")
            assert abs(datetime.fromisoformat(line["at"]) - made[line["version"]]) <= timedelta(seconds=2)


def test_the_record_is_there_while_it_soaks_and_when_a_person_marks_the_task_as_failed(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag(emulator)
    seen: list[list[str]] = []

    def marked() -> None:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        seen.append(whats(kept(dag_id)))
        with create_session() as session:
            session.query(TaskInstance).filter_by(dag_id=dag_id).update({"state": "failed"})
        raise RuntimeError("Airflow ends its trigger")

    soaks.will(None, marked)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[fails_at(50)], **PLAN)
    assert run(dag).states == {"ramp": "failed"}
    assert seen == [["raise", "check", "raise"]]
    assert whats(kept(dag_id)) == seen[0]


def test_the_record_is_there_while_it_soaks_on_a_worker(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(emulator)
    seen: list[list[str]] = []

    def sleep(seconds: float) -> None:
        if not seen:
            seen.append(whats(kept(dag_id)))
            emulator.advance(3700)

    monkeypatch.setattr("airflow_provider_ampexp.operators._rollout.waiting.time.sleep", sleep)
    with DAG(dag_id) as dag:
        plan = {**PLAN, "stages": [1, 25]}
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", deferrable=False, **plan)
    assert run(dag).succeeded
    assert seen == [["raise"]]


@pytest.mark.parametrize("is_group", [False, True])
def test_what_a_killed_attempt_did_is_in_the_record_of_the_next_one(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths, is_group: bool
) -> None:
    """The attempt dies right after its raise was carried out. The record has the raise once, from the history."""
    flag(emulator)
    told: list[None] = []

    def kill(context: Any) -> None:
        if not told:
            told.append(None)
            deaths.at(3, done=True)

    plan: dict[str, Any] = {**PLAN, "stages": [1, 25], "flag_key": "search", "pre_execute": kill, **RETRIED}
    with DAG(dag_id) as dag:
        if is_group:
            staged_rollout(**plan)
        else:
            AmplitudeRampRolloutOperator(task_id="ramp", **plan)
    ran = run(dag)
    first, second = ("rollout.stage_1", "rollout.stage_25") if is_group else ("ramp", "ramp")
    assert (ran.succeeded, ran.tries[first]) == (True, 2)
    record = ran.xcom(first, key="amplitude_experiment_record")
    rebuilt = record[0]
    assert (rebuilt["what"], rebuilt["rebuilt"], rebuilt["by"]) == ("raise", True, "Airflow")
    assert (rebuilt["from"], rebuilt["to"], rebuilt["version"], rebuilt["id"]) == (0, 1, 2, "raise-2")
    assert rebuilt["at"] == rebuilt["made_at"]
    raises = record if not is_group else record + ran.xcom(second, key="amplitude_experiment_record")
    assert [line["to"] for line in raises if line["what"] == "raise"] == [1, 25]


def test_what_was_done_before_a_clear_is_in_the_record_after_it(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[fails_at(25)], **PLAN)
    ran = run(dag)
    assert exposures(emulator, flag_id) == [0, 1, 25, 0]
    emulator.advance(60)
    clear(ran, dag)

    record = ran.xcom("ramp", key="amplitude_experiment_record")
    earlier = [(line["what"], line["to"], line["version"]) for line in record if line.get("rebuilt")]
    assert earlier == [("raise", 1, 2), ("raise", 25, 3), ("lowered", 0, 4)]
    assert whats(record) == ["raise", "raise", "lowered", "raise", "check", "raise", "check", "rollback"]
    assert [line["version"] for line in record if not line.get("rebuilt")] == [5, 5, 6, 6, 7]


def test_an_edited_plan_is_a_line_and_the_lines_after_it_have_its_digest(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag(emulator)
    with DAG(dag_id) as dag:
        ramp = AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)

    def edit() -> None:
        ramp.stages = [1, 10, 100]
        soaks.end()

    soaks.will(edit)
    record = run(dag).xcom("ramp", key="amplitude_experiment_record")
    assert whats(record) == ["raise", "plan", "raise", "raise"]
    before, edited, after, _ = record
    assert edited["why"].startswith("The plan was edited during this rollout: stages was")
    assert (edited["was"], edited["plan"]) == (before["plan"], after["plan"])
    assert before["plan"] != after["plan"]


def test_all_tasks_of_a_group_have_the_same_digest_and_the_rollback_says_what_it_left(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)

    def maria() -> None:
        emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=7)
        soaks.end()

    soaks.will(maria)
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", **PLAN)
    ran = run(dag)
    stage, back = (ran.xcom(f"rollout.{task}", key="amplitude_experiment_record") for task in ("stage_1", "rollback"))
    assert whats(stage) == ["raise", "stop"]
    assert whats(back) == ["left"]
    assert "Maria" in back[0]["why"]
    assert len({line["plan"] for line in stage + back}) == 1


def test_a_rollback_task_that_only_confirms_says_so(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", guardrails=[fails_at(25)], **PLAN)
    (line,) = run(dag).xcom("rollout.rollback", key="amplitude_experiment_record")
    assert (line["what"], line["percentage"], line["enabled"], line["version"]) == ("confirmed", 0, False, 4)
