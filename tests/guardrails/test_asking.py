"""Checks of guardrails: functions and objects, their results, and their errors."""

from __future__ import annotations

import copy
import threading
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from moments import moment

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import (
    CallableGuardrail,
    CheckContext,
    CheckResult,
    as_guardrail,
    as_guardrails,
    run_checks,
)
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy


class NumpyBool:
    """The result type of numpy's comparisons."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def item(self) -> bool:
        return self._value


def answer_of(function: Any) -> CheckResult:
    return run_checks([as_guardrail(function)], moment())[0][1]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (True, "pass"),
        (False, "fail"),
        (None, "inconclusive"),
        (NumpyBool(True), "pass"),
        (NumpyBool(False), "fail"),
        (0, "error"),
        ("fail", "error"),
    ],
)
def test_what_a_function_returns(said: object, verdict: str):
    assert answer_of(lambda _: said).verdict == verdict


def test_a_function_may_answer_in_full():
    given = CheckResult("fail", "too many", 3, "hold")
    assert answer_of(lambda _: given) is given


def test_a_function_is_told_the_moment():
    seen: list[CheckContext] = []
    run_checks([as_guardrail(seen.append)], moment(percentage=25.0))
    assert seen == [moment(percentage=25.0)]


def test_each_guardrail_answers_though_one_breaks():
    def broken(_: CheckContext) -> bool:
        raise LookupError("no table")

    answers = run_checks(as_guardrails([broken, CallableGuardrail(lambda _: True, "fine")]), moment())
    assert [(guardrail.name, answer.verdict) for guardrail, answer in answers] == [
        ("broken", "error"),
        ("fine", "pass"),
    ]
    assert answers[0][1].why == "LookupError: no table"


def test_guardrails_are_asked_at_the_same_time_so_that_those_that_hang_do_not_add_up():
    """Each guardrail waits until the other one runs."""
    begun = threading.Barrier(2, timeout=60)

    def first(_: CheckContext) -> bool:
        return begun.wait() >= 0

    def second(_: CheckContext) -> bool:
        return begun.wait() >= 0

    answers = run_checks(as_guardrails([first, second]), moment())
    assert [(guardrail.name, answer.verdict) for guardrail, answer in answers] == [
        ("first", "pass"),
        ("second", "pass"),
    ]


def test_what_broke_is_told_in_one_short_line_without_secrets():
    def broken(_: CheckContext) -> bool:
        raise ConnectionError(f"postgres://etl:s3cr/et@db refused\npassword='hunter 2' token=abc {'x' * 1000}")

    why = answer_of(broken).why
    assert "refused" in why
    assert not any(secret in why for secret in ("s3cr", "hunter", "abc", "\n"))
    assert len(why) <= 300


def test_what_airflow_knows_as_a_secret_is_not_told():
    from airflow.sdk.log import mask_secret

    mask_secret("correct-horse-battery")

    def broken(_: CheckContext) -> bool:
        raise ConnectionError("correct-horse-battery was refused")

    assert answer_of(broken).why == "ConnectionError: *** was refused"


def test_an_object_that_answers_something_else_is_in_error():
    class Odd:
        name = "odd"
        consequence = GuardrailPolicy()

        def check(self, moment: CheckContext) -> str:
            return "pass"

    assert answer_of(Odd()) == CheckResult("error", "expected a CheckResult, got 'pass'")


@pytest.mark.parametrize(("wrong", "field"), [({"verdict": "ok"}, "verdict"), ({"effect": "off"}, "effect")])
def test_a_wrong_answer_names_what_is_wrong(wrong: Any, field: str):
    with pytest.raises(InvalidInputError, match=field):
        CheckResult(**{"verdict": "pass", **wrong})


@pytest.mark.parametrize(("value", "kept"), [(Decimal("0.5"), 0.5), (float("nan"), None), (float("inf"), None)])
def test_a_value_is_a_number_that_json_can_say(value: Any, kept: float | None):
    assert CheckResult("pass", value=value).value == kept


def test_a_function_takes_a_name_and_a_consequence():
    guardrail = CallableGuardrail(lambda _: True, "latency", effect="hold", failure_limit=3)
    assert (guardrail.name, guardrail.consequence) == ("latency", GuardrailPolicy(effect="hold", failure_limit=3))
    with pytest.raises(InvalidInputError, match="error_limit"):
        CallableGuardrail(lambda _: True, error_limit=0)


def test_a_function_is_shown_without_its_address():
    assert repr(as_guardrail(partial(print))) == "CallableGuardrail('partial')"


def test_it_can_be_copied():
    assert copy.deepcopy(as_guardrail(lambda _: True)).check(moment()).verdict == "pass"


@pytest.mark.parametrize("given", [None, 3, "errors", object(), CallableGuardrail])
def test_what_is_no_guardrail_is_refused(given: object):
    with pytest.raises(InvalidInputError, match="guardrails"):
        as_guardrail(given)


def test_two_of_one_name_are_refused():
    with pytest.raises(InvalidInputError, match="'<lambda>'"):
        as_guardrails([lambda _: True, lambda _: False])


@pytest.mark.parametrize(
    "given", ["check", {"errors": lambda _: True}, None, 5, CallableGuardrail(lambda _: True, "a")]
)
def test_guardrails_are_a_list(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="guardrails: expected a list of guardrails, got"):
        as_guardrails(given)
