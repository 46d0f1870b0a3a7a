"""`staged_rollout` in a mapped task group: each flag has its own stages and its own rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG, task_group
from airflow_runs import Run
from ramps import exposures, flag

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

KEYS = ("fails", "works", "holds")


def test_a_flag_that_fails_takes_no_other_flag_back(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    ids = {key: flag(emulator, key) for key in KEYS}

    def check(moment: CheckContext) -> CheckResult:
        if moment.percentage < 25 or moment.flag_key == "works":
            return CheckResult("pass")
        return CheckResult("fail", effect="hold" if moment.flag_key == "holds" else None)

    with DAG(dag_id) as dag:

        @task_group
        def release(key: str) -> None:
            more: dict[str, Any] = {"check_every": "1s", "hold_timeout": "1s", "poll_interval": 0.3}
            staged_rollout(flag_key=key, stages=[1, 25, 100], soak="0s", guardrails=[check], **more)

        release.expand(key=[*KEYS])
    ran = run(dag)

    assert not ran.succeeded
    rollbacks = [ran.states[f"release.rollout.rollback[{place}]"] for place in range(len(KEYS))]
    assert rollbacks == ["success", "skipped", "skipped"]
    assert exposures(emulator, ids["fails"]) == [0, 1, 25, 0]
    assert exposures(emulator, ids["works"]) == [0, 1, 25, 100]
    assert exposures(emulator, ids["holds"]) == [0, 1, 25]  # on_hold_timeout="stop" leaves the flag as it is
