"""Guardrails that cannot work, and guardrails that hold without end, in real tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, Failures, Soaks, exposures, flag, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail, CheckContext, CheckResult, SqlGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_WH", json.dumps({"conn_type": "generic", "host": "nowhere"}))


def sql(conn_id: str, query: str, **more: Any) -> SqlGuardrail:
    return SqlGuardrail(conn_id, query, name="errors", no_data="hold", at_most=0.02, **more)


def misses_a_key(moment: CheckContext) -> bool:
    return {}["threshold"] is None  # type: ignore[no-any-return]


BROKEN: dict[str, tuple[Any, str]] = {
    "no such connection": (sql("nowhere", "select 1"), "nowhere"),
    "no hook": (
        sql("wh", "select 1"),
        "connection 'wh' has type 'generic', which has no SQL hook: install its provider",
    ),
    "a typo": (sql("warehouse", "selct 1"), 'near "selct": syntax error'),
    "no table": (sql("warehouse", "select rate from nowhere"), "no such table: nowhere"),
    "a KeyError": (CallableGuardrail(misses_a_key, "errors"), "KeyError: 'threshold'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_guardrail_that_cannot_work_ends_the_task_before_anybody_gets_the_feature(
    kind: str, run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, warehouse: None
) -> None:
    guardrail, reason = BROKEN[kind]
    flag_id, broken = flag(emulator), Failures()
    with DAG(dag_id, default_args={"retries": 1, "retry_delay": 0}) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[guardrail], **broken.callback, **PLAN
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})  # the warehouse may be back for a retry
    assert exposures(emulator, flag_id) == [0]
    assert writes(emulator) == 0
    said = broken.said("ramp")
    assert "guardrail 'errors' cannot answer" in said
    assert reason in said
    assert "Nothing was raised" in said
    assert "cannot answer" in ran.xcom("ramp", key=RECORD_XCOM)[-1]["why"]


def test_a_group_asks_its_guardrails_before_its_first_stage(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, warehouse: None
) -> None:
    flag_id = flag(emulator)
    with DAG(dag_id, default_args={"retries": 0}) as dag:
        staged_rollout(flag_key="search", guardrails=[sql("wh", "select 1")], **PLAN)
    ran = run(dag)

    assert ran.states["rollout.stage_1"] == "failed"
    assert exposures(emulator, flag_id) == [0]


def test_a_preflight_does_not_count_what_the_guardrail_says(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    asked: list[tuple[float, bool]] = []

    def check(moment: CheckContext) -> CheckResult:
        asked.append((moment.percentage, moment.is_preflight))
        return CheckResult("fail" if moment.is_preflight else "pass")

    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert asked == [(0, True), (1, False), (25, False)]


@pytest.mark.parametrize("how", ["dry run", "switched off", "at a stage"])
def test_a_rollout_is_not_kept_from_beginning_by_a_guardrail_that_need_not_answer(
    how: str, run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_before(moment: CheckContext) -> bool:
        if moment.is_preflight or moment.percentage < 1:
            raise KeyError("nobody has it yet")
        return True

    lines = told(monkeypatch)
    at_a_stage = {"enabled": True, "rolloutPercentage": 1} if how == "at a stage" else {}
    flag_id = flag(emulator, **at_a_stage)
    check = CallableGuardrail(cannot_before, "errors", dry_run=how == "dry run")
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[check],
            preflight=how != "switched off",
            rollback="off",
            **PLAN,
        )
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id)[-1] == 100
    assert any("'errors' cannot answer: KeyError" in line for line in lines) is (how == "dry run")


def holds(moment: CheckContext) -> bool:
    return moment.percentage < 25


@pytest.mark.parametrize(("then", "ends"), [("stop", [0, 1, 25]), ("rollback", [0, 1, 25, 0])])
def test_a_hold_that_lasts_too_long_ends_as_the_plan_says(
    then: str,
    ends: list[int],
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines, broken = told(monkeypatch), Failures()
    flag_id = flag(emulator)
    check = CallableGuardrail(holds, "errors", effect="hold")
    plan: dict[str, Any] = {"check_every": "1h", "hold_timeout": "5h", "on_hold_timeout": then, **PLAN}
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **broken.callback, **plan)
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert exposures(emulator, flag_id) == ends
    assert "the guardrails have held the rollout for 5 hours (errors (fail" in broken.said("ramp")
    began = [line for line in lines if line.startswith("The guardrails hold the rollout at 25 %: errors")]
    assert len(began) == 1  # logged once, at the start of the hold
    assert "After 5 hours of this hold the task" in began[0]


def test_a_hold_that_stops_a_group_leaves_the_flag_where_it_is(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    check = CallableGuardrail(holds, "errors", effect="hold")
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", guardrails=[check], check_every="1h", hold_timeout="5h", **PLAN)
    ran = run(dag)

    assert ran.states["rollout.stage_25"] == "failed"
    assert ran.states["rollout.rollback"] == "skipped"
    assert exposures(emulator, flag_id) == [0, 1, 25]


def test_a_hold_that_ends_in_a_group_takes_the_flag_back_where_the_plan_says_so(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    check = CallableGuardrail(holds, "errors", effect="hold")
    held: dict[str, Any] = {"check_every": "1h", "hold_timeout": "5h", "on_hold_timeout": "rollback"}
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", guardrails=[check], **held, **PLAN)
    run(dag)

    assert exposures(emulator, flag_id) == [0, 1, 25, 0]
