"""Checks that hang or end the process: each is an error after its time limit, and the rollout continues."""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moments import moment

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import (
    CallableGuardrail,
    CheckContext,
    CheckResult,
    SampleRatioGuardrail,
    SqlGuardrail,
    as_guardrail,
    as_guardrails,
    run_checks,
)
from airflow_provider_ampexp.guardrails._base import timeout_of
from airflow_provider_ampexp.guardrails._run import preflight
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy

SOME = contextvars.ContextVar[str]("SOME")


class Hanging:
    """A check that returns when the test lets it continue."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def __call__(self, moment: CheckContext) -> bool:
        self.asked += 1
        self.may_answer.wait(60)
        return True


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    one = Hanging()
    yield one
    one.may_answer.set()


def test_a_check_that_hangs_is_an_error_after_its_time_limit(hanging: Hanging):
    guardrails = as_guardrails([CallableGuardrail(hanging, "errors", timeout="0.1s"), lambda moment: True])
    began = time.monotonic()
    answers = [answer for _, answer in run_checks(guardrails, moment())]

    assert time.monotonic() - began < 10
    assert answers[0] == CheckResult("error", "timed out after 0.1 seconds")
    assert answers[1].verdict == "pass"


def test_a_check_that_still_hangs_is_not_asked_again(hanging: Hanging):
    """The thread of a check cannot be ended. With a check every five minutes, a day would leave hundreds of threads."""
    guardrail = CallableGuardrail(hanging, "hangs for long", timeout="0.1s")
    for _ in range(5):
        run_checks([guardrail], moment())
    assert hanging.asked == 1
    assert sum("hangs for long" in thread.name for thread in threading.enumerate()) == 1
    assert "still running" in run_checks([guardrail], moment())[0][1].why

    hanging.may_answer.set()
    deadline = time.monotonic() + 30
    while run_checks([guardrail], moment())[0][1].verdict != "pass":
        assert time.monotonic() < deadline


def test_sys_exit_in_a_check_is_an_error():
    answer = run_checks([as_guardrail(lambda moment: sys.exit(3))], moment())[0][1]
    assert (answer.verdict, answer.why) == ("error", "SystemExit: 3")


def test_a_check_sees_the_context_variables_of_its_task():
    SOME.set("the task's")
    seen: list[str] = []
    run_checks([as_guardrail(lambda moment: seen.append(SOME.get()))], moment())
    assert seen == ["the task's"]


class Own:
    """A user's own guardrail."""

    name = "own"
    consequence = GuardrailPolicy()

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def check(self, moment: CheckContext) -> CheckResult:
        return CheckResult("pass")


def test_the_time_limit_is_ten_minutes_unless_told_otherwise():
    sql = SqlGuardrail("warehouse", "select 1", name="errors", no_data="hold", at_most=1)
    ratio = SampleRatioGuardrail("warehouse", "select 1", no_data="hold")
    for guardrail in (sql, ratio, as_guardrail(lambda moment: True), Own()):
        assert timeout_of(guardrail) == timedelta(minutes=10)
    assert timeout_of(CallableGuardrail(bool, timeout="90s")) == timedelta(seconds=90)
    assert timeout_of(Own(timeout="1m")) == timedelta(minutes=1)


@pytest.mark.parametrize("wrong", [0, "soon", -1])
def test_a_wrong_time_limit_is_refused_when_the_dag_is_parsed(wrong: Any):
    with pytest.raises(InvalidInputError, match="timeout"):
        CallableGuardrail(bool, timeout=wrong)
    with pytest.raises(InvalidInputError, match="timeout"):
        SampleRatioGuardrail("warehouse", "select 1", no_data="hold", timeout=wrong)
    with pytest.raises(InvalidInputError, match="timeout"):
        as_guardrails([Own(timeout=wrong)])


def test_what_a_check_raised_is_logged_with_its_traceback_and_without_secrets(caplog: pytest.LogCaptureFixture):
    def errors_of_the_day(moment: CheckContext) -> bool:
        raise KeyError("postgres://etl:s3cr/et@db")

    with caplog.at_level(logging.WARNING):
        run_checks([as_guardrail(errors_of_the_day)], moment())

    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    said = record.getMessage()
    assert "errors_of_the_day" in said
    assert "Traceback" in said
    assert "KeyError" in said
    assert "s3cr" not in said


def test_a_preflight_tells_who_cannot_answer_whatever_the_verdict_is():
    def broken(moment: CheckContext) -> bool:
        raise KeyError("threshold")

    asked: list[CheckContext] = []

    def unsure(moment: CheckContext) -> None:
        asked.append(moment)

    cannot = preflight(as_guardrails([broken, unsure, CallableGuardrail(lambda moment: False, "no")]), moment())
    assert [(guardrail.name, why) for guardrail, why in cannot] == [("broken", "KeyError: 'threshold'")]
    assert [check.is_preflight for check in asked] == [True]


def test_a_guardrail_may_have_a_preflight_of_its_own():
    def away(moment: CheckContext) -> None:
        raise ConnectionError("no route to the warehouse")

    assert preflight([Own(preflight=lambda moment: None)], moment()) == []
    assert [why for _, why in preflight([Own(preflight=away)], moment())] == [
        "ConnectionError: no route to the warehouse"
    ]
