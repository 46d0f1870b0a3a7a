"""A rollout during an outage of Airflow, and one that is ended during a check: the flag is lowered first."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import HAS_TASK_STATE, PLAN, Failures, Soaks, exposures, flag, told

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail, CheckContext, CheckResult, SqlGuardrail
from airflow_provider_ampexp.operators import _airflow_call as airflow_call
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.reconcile._flag import ManagedFlag

Runner = Callable[..., Run]
LONG = 100.0


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Yield an event that is set at the end, so that no thread hangs."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def real_limit_of_calls_to_airflow(patient_calls_to_airflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the real limit of calls to Airflow, because Airflow hangs on purpose here."""
    monkeypatch.setattr(airflow_call, "LIMIT", 2.0)


def fails(moment: CheckContext) -> CheckResult:
    return CheckResult("pass" if moment.is_preflight else "fail", "9 % of the requests fail", 0.09)


class Lowering:
    """The time at which the flag was lowered, on this machine's clock, and the seconds after the check."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        self.checked_at = 0.0
        lower = ManagedFlag.roll_back_to

        def log_warnings(flag: ManagedFlag, *them: Any) -> None:
            lower(flag, *them)
            self.at = time.monotonic()

        monkeypatch.setattr(ManagedFlag, "roll_back_to", log_warnings)

    def check(self, moment: CheckContext) -> CheckResult:
        self.checked_at = time.monotonic()
        return fails(moment)

    @property
    def took(self) -> float:
        return self.at - self.checked_at


@pytest.mark.skipif(not HAS_TASK_STATE, reason="this Airflow has no task state store")
@pytest.mark.parametrize("then", ["hangs", "raises"])
def test_a_rollback_does_not_wait_for_airflow(
    then: str,
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The api-server has an outage when the check fails: the state store hangs, or raises after 29 seconds."""
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    lowering, asked = Lowering(monkeypatch), []
    returned: list[float] = []

    def away(store: Any, key: str, value: Any, **how: Any) -> None:
        if key != "amplitude_experiment_rollback":
            return
        asked.append(time.monotonic())
        let_go.wait(LONG if then == "hangs" else 29.0)
        returned.append(time.monotonic())
        raise RuntimeError("Airflow's API server does not answer")

    monkeypatch.setattr(TaskStateStoreAccessor, "set", away)
    flag_id, broken = flag(emulator), Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[lowering.check], **broken.callback, **PLAN
        )
    ran = run(dag)

    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert len(asked) == 1
    assert lowering.took < 5
    assert not returned or lowering.at < returned[0]
    assert ran.states == {"ramp": "failed"}
    assert "and confirmed it by reading" in broken.said("ramp")


@pytest.mark.skipif(not HAS_TASK_STATE, reason="this Airflow has no task state store")
def test_a_call_that_hangs_in_the_one_socket_to_airflow_does_not_keep_the_flag_up(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a worker, there is one call at a time, and each later call waits for the call that hangs."""
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

    lowering, socket = Lowering(monkeypatch), threading.RLock()
    send = InProcessSupervisorComms.send
    waited: list[float] = []

    def sent(comms: Any, msg: Any) -> Any:
        began = time.monotonic()
        with socket:
            waited.append(time.monotonic() - began)
            return send(comms, msg)

    def away(store: Any, key: str, value: Any, **how: Any) -> None:
        if key == "amplitude_experiment_rollback":
            with socket:
                let_go.wait(8.0)

    monkeypatch.setattr(InProcessSupervisorComms, "send", sent)
    monkeypatch.setattr(TaskStateStoreAccessor, "set", away)
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[lowering.check], **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert lowering.took < 5
    assert max(waited) > 3  # the record waited, and the flag did not
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["what"] == "rollback"


def test_a_record_that_airflow_does_not_take_does_not_change_how_the_task_ends(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    push = RuntimeTaskInstance.xcom_push

    def away(ti: Any, key: str, value: Any) -> None:
        if key in ("rollout", "amplitude_experiment_plan", "amplitude_experiment_url"):
            raise RuntimeError("Airflow's API server does not answer")
        push(ti, key, value)

    monkeypatch.setattr(RuntimeTaskInstance, "xcom_push", away)
    flag_id, broken = flag(emulator), Failures()
    with DAG(dag_id, default_args={"retries": 2, "retry_delay": 0}) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[fails], **broken.callback, **PLAN)
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert "and confirmed it by reading" in broken.said("ramp")


@pytest.mark.skipif(not HAS_TASK_STATE, reason="this Airflow has no task state store")
def test_a_rollout_begins_although_the_state_store_hangs(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    def away(store: Any, *them: Any, **how: Any) -> None:
        let_go.wait(LONG)

    monkeypatch.setattr(TaskStateStoreAccessor, "get", away)
    monkeypatch.setattr(TaskStateStoreAccessor, "set", away)
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    began = time.monotonic()
    ran = run(dag)

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert time.monotonic() - began < 60


def test_a_check_that_hangs_or_exits_counts_as_an_error(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, let_go: threading.Event
) -> None:
    def hangs(moment: CheckContext) -> bool:
        return moment.is_preflight or let_go.wait(LONG)

    def exits(moment: CheckContext) -> bool:
        return moment.is_preflight or sys.exit(1)

    flag_id, broken = flag(emulator), Failures()
    with DAG(dag_id) as dag:
        guardrails = [
            CallableGuardrail(hangs, "hangs", timeout="1s", error_limit=2),
            CallableGuardrail(exits, "exits", error_limit=2),
        ]
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=guardrails, **broken.callback, **PLAN
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]
    asked = [line for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "check"]
    assert [(line["name"], line["verdict"], line["why"]) for line in asked[:2]] == [
        ("hangs", "error", "timed out after 1 second"),
        ("exits", "error", "SystemExit: 1"),
    ]
    assert "exits (error 2 of 2): SystemExit: 1" in broken.said("ramp")


def test_a_warehouse_in_airflows_own_connections_is_asked_in_time(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, tmp_path: Path
) -> None:
    """The check runs in a separate thread, and looks the connection up through Airflow there."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as rows, rows:
        rows.execute("CREATE TABLE errors (rate REAL)")
        rows.execute("INSERT INTO errors VALUES (0.01)")
    rows.close()
    connection = Connection(conn_id="kept_in_the_database", conn_type="sqlite", host=str(warehouse))
    with create_session() as session:
        session.add(connection)
    try:
        flag_id = flag(emulator)
        with DAG(dag_id) as dag:
            check = SqlGuardrail(
                "kept_in_the_database", "SELECT rate FROM errors", name="errors", no_data="hold", at_most=0.02
            )
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
        ran = run(dag)
    finally:
        with create_session() as session:
            session.delete(session.merge(connection))

    assert ran.succeeded
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert {line["verdict"] for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "check"} == {"pass"}


def test_a_task_that_times_out_in_a_check_says_what_users_still_get(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hangs(moment: CheckContext) -> bool:
        return moment.is_preflight or let_go.wait(LONG)

    lines, broken = told(monkeypatch), Failures()
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[hangs],
            execution_timeout=timedelta(seconds=4),
            retries=0,
            **broken.callback,
            **PLAN,
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1]
    words = "The task ended while a check was undecided. USERS PROBABLY STILL GET flag 'search' at 1 %."
    assert any(words in line for line in lines)
    assert words in broken.said("ramp")
    record = ran.xcom("ramp", key=RECORD_XCOM)
    assert [line["what"] for line in record] == ["raise", "error"]
    assert words in record[-1]["why"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_rollback_is_not_confirmed(
    end: type[BaseException],
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(flag: ManagedFlag, *them: Any) -> None:
        raise end

    lines = told(monkeypatch)
    flag_id = flag(emulator)
    monkeypatch.setattr(ManagedFlag, "roll_back_to", ended)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[fails], retries=0, **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1]
    assert any("ROLLBACK NOT CONFIRMED" in line and "USERS PROBABLY STILL GET IT at 1 %" in line for line in lines)
    assert "ROLLBACK NOT CONFIRMED" in ran.xcom("ramp", key=RECORD_XCOM)[-1]["why"]


def test_a_task_that_is_killed_in_a_check_says_what_users_still_get(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow sends SIGTERM, and then kills the task, so that only the log can report the exposure."""

    def check(moment: CheckContext) -> bool:
        if not moment.is_preflight:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.5)
        return True

    lines = told(monkeypatch)
    flag(emulator)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with DAG(dag_id) as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
        run(dag)
    finally:
        signal.signal(signal.SIGTERM, before)

    words = "while a check was undecided. USERS PROBABLY STILL GET flag 'search' at 1 %"
    assert any(words in line and "ended from outside" in line for line in lines)
