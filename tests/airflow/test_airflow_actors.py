"""The actor of a change is shown by e-mail, name or number, for each way in which the service names its users."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, Failures, Soaks, exposures, flag

from airflow_provider_ampexp.emulator._api.json_io import user_id
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[[DAG], Run]
MARIA = {"number": str(user_id("Maria")), "object": "maria@acme.example"}


def ramp(dag_id: str, failures: Failures) -> DAG:
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN, **failures.callback)
    return dag


@pytest.mark.parametrize("named", MARIA)
def test_a_ramp_knows_its_own_steps_whatever_names_its_key(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, named: str
) -> None:
    emulator.settings(created_by=named)
    id = flag(emulator)
    assert run(ramp(dag_id, Failures())).states == {"ramp": "success"}
    assert exposures(emulator, id) == [0, 1, 25, 100]


@pytest.mark.parametrize("named", MARIA)
def test_who_changed_the_flag_is_named_in_the_error(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, named: str
) -> None:
    emulator.settings(created_by=named)
    id = flag(emulator)
    soaks.will(lambda: emulator.edit("flags", id, rolloutPercentage=3))
    failures = Failures()
    assert run(ramp(dag_id, failures)).states == {"ramp": "failed"}
    assert f"by {MARIA[named]} at" in failures.said("ramp")
    assert exposures(emulator, id) == [0, 1, 3]
