"""The bounds of each check of a holdback guardrail over time, in the detail of a flag."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_ampexp.rollout import GuardrailPolicy, LiftInterval
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._state import RolloutState
from tests.page.samples import HOUR, MONDAY, STATE, detail, task

MINUTE = timedelta(minutes=1)


def check(minutes: float, stage: int, **more: Any) -> dict[str, Any]:
    at = (MONDAY + minutes * MINUTE).isoformat()
    line = {"at": at, "what": "check", "stage": stage, "name": "orders", "verdict": "pass", "why": ""}
    bounds = {"value": -0.01, "low": -0.03, "high": 0.01, "worse": "lower", "at_most_worse": None}
    return {**line, **bounds, **more}


def series(*record: dict[str, Any]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = detail(task(record=(*STATE.record, *record)))["intervals"]
    return shown


def test_each_check_is_at_its_stage_with_its_bounds() -> None:
    (orders,) = series(
        check(10, 1),
        check(20, 1),
        check(30, 5, value=-0.05, low=-0.07, high=-0.03, verdict="fail", at_most_worse=0.02),
    )
    assert (orders["name"], orders["worse"], orders["at_most_worse"]) == ("orders", "lower", 0.02)
    assert [(stage["percentage"], len(stage["checks"])) for stage in orders["stages"]] == [(1, 2), (5, 1)]
    assert orders["stages"][1]["checks"] == [
        {
            "at": (MONDAY + HOUR / 2).isoformat(),
            "value": -0.05,
            "low": -0.07,
            "high": -0.03,
            "verdict": "fail",
        }
    ]


def test_each_guardrail_has_a_series_of_its_own() -> None:
    both = series(check(10, 1), check(10, 1, name="revenue", worse="higher"), check(20, 1))
    assert [(chart["name"], chart["worse"]) for chart in both] == [("orders", "lower"), ("revenue", "higher")]
    assert len(both[0]["stages"][0]["checks"]) == 2


def test_a_stage_has_at_most_100_checks_with_the_first_and_the_last() -> None:
    (orders,) = series(*(check(minute, 1) for minute in range(1000)), check(2000, 5))
    first = orders["stages"][0]["checks"]
    assert len(first) == 100
    assert (first[0]["at"], first[-1]["at"]) == (MONDAY.isoformat(), (MONDAY + 999 * MINUTE).isoformat())
    assert len(orders["stages"][1]["checks"]) == 1


def test_a_stage_that_a_person_cleared_begins_again() -> None:
    (orders,) = series(check(10, 1), check(20, 5), check(30, 1))
    assert [stage["percentage"] for stage in orders["stages"]] == [1, 5, 1]


@pytest.mark.parametrize(
    "odd",
    [
        {"low": None},
        {"high": "0.1"},
        {"low": float("nan")},
        {"value": None},
        {"low": True},
    ],
)
def test_a_check_without_bounds_is_left_out(odd: dict[str, Any]) -> None:
    """Such a check is of an older version, or of another guardrail."""
    assert series(check(10, 1, **odd)) == []
    assert [len(chart["stages"]) for chart in series(check(10, 1, **odd), check(20, 1))] == [1]


def test_odd_options_do_no_harm() -> None:
    (orders,) = series(check(10, 1, worse=["<script>"], at_most_worse="much", name=None, verdict=None))
    assert (orders["worse"], orders["at_most_worse"], orders["name"]) == ("lower", None, "")


def test_a_rollout_without_such_a_guardrail_has_none() -> None:
    assert series() == []
    assert detail()["intervals"] == []


def test_the_page_reads_what_a_rollout_records() -> None:
    bounds = LiftInterval(-0.049, -0.012, "lower", 0.02)
    status = GuardrailStatus("orders", GuardrailPolicy()).with_result("fail", "", -0.031, MONDAY, interval=bounds)
    (orders,) = series(*RolloutState().after_checks([status], MONDAY).record)  # type: ignore[arg-type]
    assert orders["at_most_worse"] == 0.02
    assert orders["stages"][0]["checks"][0]["low"] == -0.049
