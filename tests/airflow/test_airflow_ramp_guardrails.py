"""A rollout and its guardrails, in real tasks: the times of checks, and the effects of their results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow_runs import Run
from ramps import PLAN, Failures, Soaks, began, exposures, flag, told

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail, CheckContext, CheckResult, SqlGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.rollout import ChangeWindow

Runner = Callable[..., Run]
FAIL = CheckResult("fail", "9 % of the requests fail", 0.09)
OK = CheckResult("pass", "1 % of the requests fail", 0.01)
UNSURE = CheckResult("inconclusive", "too few requests")


class Says:
    """A check with these results, in order; the last one repeats. It raises an exception. Its preflight passes."""

    def __init__(self, *answers: CheckResult | Exception) -> None:
        self.asked: list[CheckContext] = []
        self._answers: Iterator[CheckResult | Exception] = iter(answers)
        self._last: CheckResult | Exception = answers[-1]

    def __call__(self, moment: CheckContext) -> CheckResult:
        if moment.is_preflight:
            return OK
        self.asked.append(moment)
        answer = next(self._answers, self._last)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def stages(self) -> list[float]:
        """The percentages of its checks."""
        return [moment.percentage for moment in self.asked]


def records(ran: Run, what: str, task_id: str = "ramp") -> list[dict[str, Any]]:
    return [line for line in ran.xcom(task_id, key=RECORD_XCOM) if line["what"] == what]


def test_those_that_pass_let_it_go_on(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One guardrail is a function, and one queries a warehouse."""
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as rows, rows:
        rows.execute("CREATE TABLE errors (flag TEXT, percentage INT, rate REAL, requests INT)")
        rows.executemany("INSERT INTO errors VALUES ('search', ?, ?, 500)", [(1, 0.01), (25, 0.02)])
    rows.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    sql = "SELECT rate, requests FROM errors WHERE flag = {{ flag_key }} AND percentage = {{ percentage }}"
    errors = SqlGuardrail("warehouse", sql, name="errors", no_data="hold", at_most=0.02, min_sample=100)
    latency = Says(OK)
    flag_id = flag(emulator, rolloutWeights={"on": 1})
    with DAG(dag_id) as dag:
        guardrails = [errors, CallableGuardrail(latency, "latency")]
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=guardrails, **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    moments = began(emulator, flag_id)
    assert [(check.percentage, check.stage_started_at) for check in latency.asked] == [
        (1, moments[1]),
        (25, moments[2]),
    ]
    assert all(request.now - request.stage_started_at >= timedelta(hours=1) for request in latency.asked)
    assert {(request.flag_key, request.weights["on"], request.context["ti"].task_id) for request in latency.asked} == {
        ("search", 1, "ramp")
    }
    asked = [(record["stage"], record["name"], record["verdict"], record["value"]) for record in records(ran, "check")]
    assert asked == [
        (1, "errors", "pass", 0.01),
        (1, "latency", "pass", 0.01),
        (25, "errors", "pass", 0.02),
        (25, "latency", "pass", 0.01),
    ]
    assert records(ran, "check")[0]["why"] == "0.01 is at most 0.02, measured on 500"


def test_one_that_fails_takes_the_flag_down_and_says_why(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as rows, rows:
        rows.execute("CREATE TABLE errors (percentage INT, rate REAL)")
        rows.executemany("INSERT INTO errors VALUES (?, ?)", [(1, 0.01), (25, 0.034)])
    rows.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(warehouse)}))
    sql = "SELECT rate FROM errors WHERE percentage = {{ percentage }}"
    flag_id = flag(emulator)
    broken, lines = Failures(), told(monkeypatch)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[SqlGuardrail("warehouse", sql, name="errors", no_data="hold", at_most=0.02)],
            **broken.callback,
            **PLAN,
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 25, 0]
    why = "errors (fail 1 of 1, value 0.034): 0.034 is more than 0.02"
    assert f"Guardrail at 25 %: {why}" in lines
    assert f"Rolled back flag 'search' from 25 % to 0 % (disabled), and confirmed it by reading: {why}" in broken.said(
        "ramp"
    )
    assert [line["what"] for line in ran.xcom("ramp", key=RECORD_XCOM)] == [
        "raise",
        "check",
        "raise",
        "check",
        "rollback",
    ]
    assert {**records(ran, "rollback")[0], "at": None, "since": None, "made_at": None, "plan": None} == {
        "id": "rollback-4",
        "at": None,
        "made_at": None,
        "plan": None,
        "version": 4,
        "percentage": 0,
        "what": "rollback",
        "from": 25,
        "since": None,
        "to": 0,
        "enabled": False,
        "why": why,
    }


def test_limits_count_answers_in_a_row(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    boom = RuntimeError("the warehouse is away")
    checks: dict[str, tuple[Says, dict[str, Any], list[int]]] = {
        # the results, the limits, and the exposure afterwards
        "unsure_at_last": (Says(UNSURE, UNSURE, OK, UNSURE), {"inconclusive_limit": 3}, [0, 1, 25, 0]),
        "raises": (Says(boom), {"error_limit": 2}, [0, 1, 0]),
        "fails_twice": (Says(FAIL, OK, FAIL, FAIL), {"failure_limit": 2}, [0, 1, 25, 0]),
        "recovers": (Says(boom, UNSURE, FAIL, OK), {"failure_limit": 2}, [0, 1, 25, 100]),
    }
    ids = {key: flag(emulator, key) for key in checks}
    with DAG(dag_id, default_args={"trigger_rule": "all_done"}) as dag:
        chain(
            *[
                AmplitudeRampRolloutOperator(
                    task_id=key, flag_key=key, guardrails=[CallableGuardrail(says, "check", **limits)], **PLAN
                )
                for key, (says, limits, _) in checks.items()
            ]
        )
    ran = run(dag)

    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {
        key: wanted for key, (_, _, wanted) in checks.items()
    }
    assert ran.states == {**dict.fromkeys(checks, "failed"), "recovers": "success"}
    assert {key: says.stages for key, (says, _, _) in checks.items()} == {
        "unsure_at_last": [1, 1, 1, 25, 25, 25],
        "raises": [1, 1],
        "fails_twice": [1, 1, 25, 25],
        "recovers": [1, 1, 1, 1, 25],
    }
    # An inconclusive result extends the soak: the check is repeated after five minutes.
    said = checks["unsure_at_last"][0].asked
    assert timedelta(minutes=5) <= said[1].now - said[0].now < timedelta(hours=1)
    last = records(ran, "rollback", "raises")[-1]
    assert last["why"] == "check (error 2 of 2): RuntimeError: the warehouse is away"


def test_a_dry_run_reports_and_never_acts(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator)
    lines = told(monkeypatch)
    with DAG(dag_id) as dag:
        check = CallableGuardrail(Says(FAIL), "errors", dry_run=True)
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert [(record["stage"], record["verdict"]) for record in records(ran, "check")] == [(1, "fail"), (25, "fail")]
    why = "9 % of the requests fail"
    assert f"Guardrail at 1 %: errors (fail 1 of 1, value 0.09, dry run of 'roll back'): {why}" in lines


def test_one_that_only_holds_lets_go_when_it_recovers(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    says = Says(FAIL, FAIL, FAIL, OK)
    with DAG(dag_id) as dag:
        check = CallableGuardrail(says, "errors", effect="hold")
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert says.stages == [1, 1, 1, 1, 25]


def test_one_that_fails_during_a_soak_ends_it(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    says = Says(OK, FAIL)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[says], check_every="15m", **{**PLAN, "soak": "1d"}
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]
    raised, lowered = began(emulator, flag_id)[1:]
    assert timedelta(minutes=30) <= lowered - raised < timedelta(hours=1)
    ends = [datetime.fromisoformat(watch["until"]) - raised for watch in soaks.watches]
    assert ends[0] == timedelta(minutes=15)
    assert timedelta(minutes=30) <= ends[1] < timedelta(minutes=31)


def hour_from(moment: datetime, hours: int) -> ChangeWindow:
    """Return a window of one hour each day, which opens a number of hours after a time."""
    start, end = moment + timedelta(hours=hours), moment + timedelta(hours=hours + 1)
    return ChangeWindow(days="Mon-Sun", start=f"{start:%H}:{start:%M}", end=f"{end:%H:%M}", timezone="UTC")


def test_it_raises_only_inside_the_window(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator)
    window, lines = hour_from(soaks.now(), hours=2), told(monkeypatch)
    opens = window.next_open(soaks.now())
    assert opens > soaks.now()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", window=window, **{**PLAN, "stages": [1, 25], "soak": "90m"}
        )
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25]
    first, second = began(emulator, flag_id)[1:]
    assert opens <= first < opens + timedelta(hours=1)
    assert opens + timedelta(days=1) <= second < opens + timedelta(days=1, hours=1)
    assert [datetime.fromisoformat(watch["until"]) for watch in soaks.watches] == [
        opens,
        first + timedelta(minutes=90),
        opens + timedelta(days=1),
    ]
    assert any(f"the window opens {window.shown(opens)}; next stage 1 %" in line for line in lines)


def test_guardrails_go_on_while_the_window_is_closed_and_a_rollback_does_not_wait_for_it(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=1)
    window = hour_from(soaks.now(), hours=12)
    says = Says(OK, OK, FAIL)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[says], window=window, rollback="off", **PLAN
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [1, 0]
    assert says.stages == [1, 1, 1]
    assert not window.is_open(began(emulator, flag_id)[-1])
