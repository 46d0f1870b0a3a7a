"""From the arguments of a rollout's operator to its plan, as far as they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.rollout import RolloutPlan, parse_stages
from airflow_provider_ampexp.rollout._plan import HOLD_TIMEOUT, check_soaks, parse_duration

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

# What is only known when the task runs stands in as something right: until then only the rest is checked.
_PLACEHOLDERS: dict[str, Any] = {
    "stages": (100,),
    "soak": 0,
    "segment": None,
    "check_every": None,
    "rollback": "start",
    "on_drift": "stop",
    "hold_tag": "rollout-hold",
    "hold_timeout": HOLD_TIMEOUT,
    "on_hold_timeout": "stop",
    "sticky": "refuse",
    "decided": "refuse",
    "catch_all": None,
}


def planned(operator: AmplitudeRampRolloutOperator) -> RolloutPlan:
    """The plan, once the arguments are rendered.

    :raises InvalidInputError: names the argument that is wrong
    """
    return _planned(operator, {name: getattr(operator, name) for name in _PLACEHOLDERS})


def check_planned(operator: AmplitudeRampRolloutOperator) -> None:
    """Check what is known when the DAG is parsed.

    :raises InvalidInputError: names the argument that is wrong
    """
    given = {name: getattr(operator, name) for name in _PLACEHOLDERS}
    known = {name: value for name, value in given.items() if arguments.is_literal(value)}
    if known == given:
        operator.plan()  # which may have more to it
    else:
        _planned(operator, {**_PLACEHOLDERS, **known})


def _planned(operator: AmplitudeRampRolloutOperator, given: dict[str, Any]) -> RolloutPlan:
    rollback, check_every, hold_timeout = given["rollback"], given["check_every"], given["hold_timeout"]
    check_soaks(given["stages"], given["soak"])
    return RolloutPlan(
        stages=parse_stages(given["stages"], given["soak"]),
        segment=arguments.optional(arguments.text)("segment", given["segment"]),
        rollback=int(rollback) if str(rollback).isdigit() else rollback,
        on_drift=given["on_drift"],
        enable=operator.enable,
        checked=bool(operator.guardrails),
        preflight=operator.preflight,
        check_every=None if check_every is None else parse_duration("check_every", check_every),
        window=operator.window,
        sticky=given["sticky"],
        decided=given["decided"],
        catch_all=arguments.optional(arguments.text)("catch_all", given["catch_all"]),
        hold_timeout=None if hold_timeout is None else parse_duration("hold_timeout", hold_timeout),
        on_hold_timeout=given["on_hold_timeout"],
        hold_tag=arguments.text("hold_tag", given["hold_tag"]),
    )
