"""`staged_rollout`: the rollout as a group, with one task for each stage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import Failures

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckResult
from airflow_provider_ampexp.guardrails._base import CheckContext
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

QUICK: dict[str, Any] = {"flag_key": "search", "soak": 0, "poll_interval": 0.3}


def flag(emulator: Emulator, **fields: Any) -> str:
    return str(emulator.create_flag("search", **{"variants": [{"key": "on"}], **fields})["id"])


def history(emulator: Emulator, flag_id: str) -> list[tuple[int, str]]:
    """Return the percentage that users got and the author of each version, oldest first."""
    found = []
    for version in reversed(emulator.versions("flags", flag_id)):
        config = version["flagConfig"]
        found.append((config["rolloutPercentage"] if config["enabled"] else 0, version["createdBy"]))
    return found


def exposures(emulator: Emulator, flag_id: str) -> list[int]:
    return [percentage for percentage, _ in history(emulator, flag_id)]


def states(run: Run) -> dict[str, str]:
    return {name.removeprefix("rollout."): state for name, state in run.states.items()}


def test_a_text_without_jinja_stays_what_it_is_in_a_native_dag(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str
) -> None:
    flag_id = str(emulator.create_flag("1_000", variants=[{"key": "on"}], rolloutPercentage=0)["id"])
    emulator.create_flag("1000", variants=[{"key": "on"}], rolloutPercentage=0)
    with DAG(dag_id, render_template_as_native_obj=True) as dag:
        staged_rollout(flag_key="1_000", stages=[5, 100], soak="1s", poll_interval=0.3)
    assert run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 5, 100]


def test_one_task_a_stage(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25, 100])
    done = run(dag)
    assert done.succeeded
    assert states(done) == {"stage_1": "success", "stage_25": "success", "stage_100": "success", "rollback": "skipped"}
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]


def test_a_failed_check_rolls_back_and_fails_the_run(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str
) -> None:
    flag_id = flag(emulator)

    def errors(moment: CheckContext) -> CheckResult:
        return CheckResult("fail" if moment.percentage == 25 else "pass", "9 % of the requests fail", 0.09)

    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25, 100], guardrails=[errors])
    done = run(dag)
    assert not done.succeeded
    assert states(done) == {
        "stage_1": "success",
        "stage_25": "failed",
        "stage_100": "upstream_failed",
        "rollback": "success",
    }
    assert exposures(emulator, flag_id) == [0, 1, 25, 0]
    result = done.xcom("rollout.rollback")
    assert (result["changed"], result["after"]) == (False, 0)  # the stage itself had rolled back


def test_the_rollback_takes_down_what_a_failed_task_left(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str
) -> None:
    """For example, a person marks a stage as failed, so that it can no longer roll back itself."""
    from airflow.sdk import task

    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        group = staged_rollout(**QUICK, stages=[1, 25], rollback="off")

        @task
        def break_down() -> None:
            raise RuntimeError

        broken = break_down()
        (
            dag.get_task("rollout.stage_1")
            >> broken
            >> [dag.get_task("rollout.stage_25"), dag.get_task("rollout.rollback")]
        )
    assert group.group_id == "rollout"
    done = run(dag)
    assert states(done)["rollback"] == "success"
    assert exposures(emulator, flag_id) == [0, 1, 0]
    result = done.xcom("rollout.rollback")
    assert (result["changed"], result["before"], result["after"]) == (True, 1, 0)
    assert [line["what"] for line in done.xcom("rollout.rollback", RECORD_XCOM)] == ["rollback"]
    assert not done.succeeded


@pytest.mark.parametrize(
    ("before", "rollback", "ends"), [(0, "success", [0, 1, 0]), (1, "skipped", [1])], ids=["raised", "found"]
)
def test_the_rollback_of_a_cleared_run_takes_back_only_what_the_run_raised_before(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    dag_id: str,
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    rollback: str,
    ends: list[int],
) -> None:
    """Airflow resets the start of a run when a person clears the run after its end."""
    from airflow.sdk import task

    from airflow_provider_ampexp.operators import _attempts as attempts

    flag_id = flag(emulator, enabled=before > 0, rolloutPercentage=before)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25])

        @task
        def cleared_and_marked_as_failed() -> None:
            monkeypatch.setattr(attempts, "run_began", lambda context, now: now + timedelta(seconds=5))
            raise RuntimeError

        broken = cleared_and_marked_as_failed()
        (
            dag.get_task("rollout.stage_1")
            >> broken
            >> [dag.get_task("rollout.stage_25"), dag.get_task("rollout.rollback")]
        )
    assert states(run(dag))["rollback"] == rollback
    assert exposures(emulator, flag_id) == ends


def test_what_a_person_did_is_left_as_it_is(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    from airflow.sdk import task

    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25])

        @task
        def maria() -> None:
            emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=10)

        dag.get_task("rollout.stage_1") >> maria() >> dag.get_task("rollout.stage_25")
    done = run(dag)
    assert not done.succeeded
    assert states(done)["stage_25"] == "failed"
    assert states(done)["rollback"] == "skipped"
    assert exposures(emulator, flag_id) == [0, 1, 10]


@pytest.mark.parametrize(
    ("option", "choice", "expected", "ends"),
    [
        (
            "Approve",
            {},
            {"approve_25": "success", "stage_25": "success", "rollback": "skipped"},
            [0, 1, 25],
        ),
        (
            "Reject",
            {},
            {"approve_25": "failed", "stage_25": "upstream_failed", "rollback": "success"},
            [0, 1, 0],
        ),
        (
            "Reject",
            {"on_reject": "hold"},
            {"approve_25": "skipped", "stage_25": "skipped", "rollback": "skipped"},
            [0, 1],
        ),
    ],
    ids=["approved", "rejected", "rejected and held"],
)
def test_somebody_answers(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    dag_id: str,
    people: Callable[[str], list[Any]],
    option: str,
    choice: dict[str, Any],
    expected: dict[str, str],
    ends: list[int],
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(
            **QUICK,
            stages=[1, 25],
            approve_before={25},
            approvers=["eve"],
            guardrails=[lambda moment: CheckResult("pass", "all is well")],
            **choice,
        )
    asked = people(option)
    done = run(dag)
    assert states(done) == {"stage_1": "success", **expected}
    assert exposures(emulator, flag_id) == ends
    (question,) = asked
    assert question["subject"] == "Go to 25 % with flag 'search'?"
    assert question["users"] == [{"id": "eve", "name": "eve"}]
    assert "The flag is at **1 %**" in question["body"]
    assert "all is well" in question["body"]
    lines = done.xcom("rollout.approve_25", RECORD_XCOM)
    asked_for, answered = (line for line in lines if line["what"].startswith("approval"))
    assert (asked_for["what"], asked_for["stage"], asked_for["approvers"]) == ("approval_asked", 25, ["eve"])
    assert (answered["stage"], answered["approved"], answered["by"]) == (25, option == "Approve", "eve")
    assert asked_for["at"] <= answered["at"]
    assert datetime.fromisoformat(answered["answered_at"]).tzinfo is not None


@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize(
    ("approvers", "given"),
    [
        ("{{ params.approvers }}", ""),
        ("{{ params.approvers }}", []),
        ("{{ params.approvers }}", [""]),
        ("{{ params.approvers }}", None),
        ("{{ dag_run.conf.get('approvers', '') }}", "not asked"),
    ],
    ids=str,
)
def test_an_empty_template_of_approvers_lets_nobody_approve(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    dag_id: str,
    people: Callable[[str], list[Any]],
    approvers: str,
    given: Any,
    is_native: bool,
) -> None:
    flag_id = flag(emulator)
    failed = Failures()
    with DAG(
        dag_id,
        params={"approvers": given},
        render_template_as_native_obj=is_native,
        default_args=failed.callback,
    ) as dag:
        staged_rollout(**QUICK, stages=[1, 25], approve_before={25}, approvers=approvers)
    asked = people("Approve")
    done = run(dag)
    assert asked == []
    assert states(done)["approve_25"] == "failed"
    assert "approvers" in failed.said("rollout.approve_25")
    assert exposures(emulator, flag_id)[-1] == 0


def test_a_rejection_before_the_first_stage_frightens_nobody(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, people: Callable[[str], list[Any]]
) -> None:
    flag_id = flag(emulator)
    broken = Failures()
    with DAG(dag_id, default_args=broken.callback) as dag:
        staged_rollout(**QUICK, stages=[1, 25], approve_before={1})
    people("Reject")
    assert states(run(dag))["approve_1"] == "failed"
    assert "eve rejected 1 %. It was left at 0 % (disabled), where nobody gets it" in broken.said("rollout.approve_1")
    assert exposures(emulator, flag_id) == [0]


def test_nobody_answers(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, people: Callable[[str], list[Any]]
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25], approve_before={25}, approval_timeout="3s", on_no_answer="rollback")
    done = run(dag)
    assert states(done)["approve_25"] == "failed"
    assert done.xcom("rollout.approve_25", RECORD_XCOM)[-1]["why"].startswith("no answer within 3 seconds")
    assert exposures(emulator, flag_id) == [0, 1, 0]


def test_a_check_that_fails_while_a_person_sleeps_ends_the_waiting(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, people: Callable[[str], list[Any]]
) -> None:
    flag_id = flag(emulator)
    checks = []

    def errors(moment: CheckContext) -> CheckResult:
        if moment.context["ti"].task_id == "rollout.approve_25":
            checks.append(moment.percentage)
        return CheckResult("fail" if len(checks) == 2 else "pass")

    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25], approve_before={25}, guardrails=[errors], check_every="3s")
    done = run(dag)
    assert states(done)["approve_25"] == "failed"
    assert states(done)["stage_25"] == "upstream_failed"
    assert checks == [1, 1]
    assert done.xcom("rollout.approve_25", RECORD_XCOM)[-1]["what"] == "rollback"
    assert exposures(emulator, flag_id) == [0, 1, 0]


def test_a_stage_goes_over_nobodys_head(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    """For example, a person clears only a later stage after a rollback."""
    flag_id = flag(emulator, enabled=True, rolloutPercentage=0)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[1, 25])
        dag.get_task("rollout.stage_1").execute = lambda context: None  # type: ignore[method-assign]
    done = run(dag)
    assert states(done)["stage_25"] == "failed"
    assert exposures(emulator, flag_id) == [0]


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"stages": "{{ params.stages }}"}, "stages"),
        ({"approve_before": {50}}, "approve_before"),
        ({"approve_before": {25}, "on_reject": "stop"}, "on_reject"),
        ({"approve_before": {25}, "approval_timeout": "soon"}, "approval_timeout"),
        ({"rollback": "up"}, "rollback"),
        ({"flag_id": "1"}, "flag_id"),
    ],
)
def test_what_is_wrong_is_refused_while_the_dag_is_parsed(wrong: dict[str, Any], names: str) -> None:
    with DAG("wrong"), pytest.raises(InvalidInputError, match=names):
        staged_rollout(**{**QUICK, "stages": [1, 25], **wrong})


def test_what_comes_after_the_group_waits_for_its_last_stage() -> None:
    from airflow.sdk import task

    with DAG("after") as dag:

        @task
        def celebrate() -> None: ...

        staged_rollout(**QUICK, stages=[1, 25]) >> celebrate()
    assert dag.get_task("celebrate").upstream_task_ids == {"rollout.stage_25"}
    assert dag.get_task("rollout.rollback").is_teardown
