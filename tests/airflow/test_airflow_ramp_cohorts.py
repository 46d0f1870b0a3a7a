"""Included cohorts of a flag under a rollout: their users get it at any percentage, and a rollback reports this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckResult
from airflow_provider_ampexp.operators._rollout import exposure_warnings
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

QUICK: dict[str, Any] = {"flag_key": "search", "soak": 0, "poll_interval": 0.3}
COHORTS = "GET /api/1/flags/{id}/variants/{variantKey}/cohorts"


@pytest.fixture(autouse=True)
def extra_endpoints(emulator: Emulator) -> None:
    emulator.settings(extra_endpoints=True)


def flag(emulator: Emulator, **fields: Any) -> str:
    given = {"variants": [{"key": "on"}], "cohorts": {"on": ["beta"]}, **fields}
    return str(emulator.create_flag("search", **given)["id"])


def ramp(**changed: Any) -> AmplitudeRampRolloutOperator:
    given = {"task_id": "ramp", "stages": [5, 25], "deferrable": False, **QUICK}
    return AmplitudeRampRolloutOperator(**{**given, **changed})


def fails(_: Any) -> CheckResult:
    return CheckResult("fail", "9 % of the requests fail")


def warnings(ran: Run, task: str = "ramp") -> list[str]:
    return [line["why"] for line in ran.xcom(task, RECORD_XCOM) if line["what"] == "warning"]


@pytest.mark.parametrize(
    ("enabled", "said"),
    [
        (True, "users outside of this rollout already get it, through the cohort 'beta'"),
        (False, "with the first stage, all users of the cohort 'beta' get it too"),
    ],
)
def test_the_start_of_a_rollout_names_the_cohorts(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, enabled: bool, said: str
) -> None:
    flag(emulator, enabled=enabled, rolloutPercentage=0)
    with DAG(dag_id) as dag:
        ramp()
    assert said in warnings(run(dag))


@pytest.mark.parametrize("to", [2, "start"])
def test_a_rollback_is_not_confirmed_of_a_cohort_that_still_gets_it(emulator: Emulator, to: int | str) -> None:
    flag(emulator, enabled=True, rolloutPercentage=2)
    with pytest.raises(AirflowFailException) as raised:
        ramp(guardrails=[fails], rollback=to).execute({})
    assert "from 5 % to 2 %, and read that back; but USERS STILL GET IT through the cohort 'beta': " in str(
        raised.value
    )
    assert "confirmed it" not in str(raised.value)


def test_a_rollback_that_disables_the_flag_reads_no_cohort(emulator: Emulator) -> None:
    flag_id = flag(emulator, enabled=False, rolloutPercentage=0)
    with pytest.raises(AirflowFailException, match="and confirmed it by reading"):
        ramp(guardrails=[fails]).execute({})
    assert emulator.flag(flag_id)["enabled"] is False
    assert emulator.requests()["by_route"][COHORTS] == 1  # at the start


def test_a_cohort_that_was_removed_during_the_rollout_is_not_named(emulator: Emulator) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=2)

    def removes_and_fails(_: Any) -> CheckResult:
        with ManagementClient(emulator.api_key, base_url=emulator.base_url) as client:
            client.flags.remove_cohorts(flag_id, "on", ["beta"])
        return fails(_)

    with pytest.raises(AirflowFailException, match="and confirmed it by reading"):
        ramp(guardrails=[removes_and_fails]).execute({})


def test_the_tasks_of_a_group_name_them_too(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str) -> None:
    flag(emulator, enabled=True, rolloutPercentage=2)
    alerts: list[str] = []
    with DAG(dag_id) as dag:
        staged_rollout(
            **QUICK,
            stages=[5, 25],
            guardrails=[fails],
            on_rollback=lambda context: alerts.append(context["rollout"]["text"]),
        )
    ran = run(dag)
    assert ran.xcom("rollout.stage_5", RECORD_XCOM)[-1]["still_through"] == ["the cohort 'beta'"]
    assert "but USERS STILL GET IT through the cohort 'beta'" in alerts[0]
    assert ran.states["rollout.rollback"] == "success"


def test_a_rollback_does_not_wait_for_the_cohorts(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service hangs right after the write was read back."""
    flag_id = flag(emulator, enabled=True, rolloutPercentage=2)
    monkeypatch.setattr(exposure_warnings, "LIMIT", 0.2)
    alerts: list[str] = []

    def hangs_and_fails(_: Any) -> CheckResult:
        emulator.fault("slow", seconds=5, route=COHORTS)
        return fails(_)

    with pytest.raises(AirflowFailException, match="Rolled back flag 'search' from 5 % to 2 %"):
        ramp(
            guardrails=[hangs_and_fails], on_rollback=lambda context: alerts.append(context["rollout"]["text"])
        ).execute({})
    assert len(alerts) == 1
    assert emulator.flag(flag_id)["rolloutPercentage"] == 2
