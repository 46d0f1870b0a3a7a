"""The clock of a soak, when a proxy changes the time or this machine's clock is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, Soaks, began, exposures, flag

from airflow_provider_ampexp.client import _service_clock as client_clock
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[[DAG], Run]
HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0


def ramp(dag_id: str) -> DAG:
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    return dag


def soaked(emulator: Emulator, id: str) -> list[timedelta]:
    """Return the time at each percentage, without the first and the last."""
    at = began(emulator, id)[1:]
    return [later - earlier for earlier, later in pairwise(at)]


@pytest.mark.parametrize("rate", [1.0, 0.5], ids=["always", "now and then"])
def test_a_date_a_week_ahead_ends_no_soak(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, caplog: pytest.LogCaptureFixture, rate: float
) -> None:
    id = flag(emulator)
    emulator.fault("wrong_date", offset=WEEK, rate=rate, times=None)
    soaks.now = lambda: datetime.now(began(emulator, id)[0].tzinfo) + _moved(emulator)  # type: ignore[method-assign]
    assert run(ramp(dag_id)).states == {"ramp": "success"}
    assert exposures(emulator, id) == [0, 1, 25, 100]
    assert all(soak >= timedelta(hours=1) for soak in soaked(emulator, id))
    assert "Ignoring the Date of the service's responses" in caplog.text


def _moved(emulator: Emulator) -> timedelta:
    return timedelta(seconds=emulator._call("POST", "clock", {})["offset"])


@pytest.mark.parametrize("error", [DAY, 5 * HOUR, -0.5 * HOUR, -5 * HOUR])
def test_a_wrong_clock_here_changes_no_soak(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=error)

    monkeypatch.setattr(client_clock, "datetime", Wrong)
    id = flag(emulator)
    assert run(ramp(dag_id)).states == {"ramp": "success"}
    assert exposures(emulator, id) == [0, 1, 25, 100]
    assert all(timedelta(hours=1) <= soak < timedelta(hours=1, minutes=2) for soak in soaked(emulator, id))
