"""From the arguments of a rollout's operator to its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._alert import as_notifiers
from airflow_provider_ampexp.rollout._duration import interval
from airflow_provider_ampexp.rollout._plan import ALERTS, APPROVALS, PARAMETERS, with_plan

if TYPE_CHECKING:
    from airflow_provider_ampexp.guardrails import Guardrail
    from airflow_provider_ampexp.operators._rollout.base import RolloutOperator

_NAMES = [name for name in PARAMETERS if name not in APPROVALS]
# Placeholders for arguments that are known only when the task runs. Until then the other arguments are checked.
_PLACEHOLDERS = {**PARAMETERS, "stages": (100,), "soak": 0}


def set_parameters(operator: RolloutOperator, plan: RolloutPlan | None, given: Mapping[str, Any]) -> None:
    """Set each parameter of the rollout on the operator, and check what is known when Airflow parses the DAG.

    :raises InvalidInputError: names the argument that is wrong
    """
    given = with_plan(plan, given)
    if plan is not None and plan.approve_before:
        raise InvalidInputError("plan", "has approvals (approve_before), which are tasks: use staged_rollout")
    for name in _NAMES:
        setattr(operator, name, given[name])
    for name in ALERTS:
        setattr(operator, name, as_notifiers(name, given[name]))
    operator.guardrails = _guardrails(given["guardrails"])
    operator.poll_interval = interval("poll_interval", given["poll_interval"])
    known = {name: value for name in _NAMES if arguments.is_literal(value := getattr(operator, name))}
    if len(known) == len(_NAMES):
        operator.plan()  # a subclass extends it
    else:
        RolloutPlan(**{name: known.get(name, _PLACEHOLDERS[name]) for name in _NAMES})


def plan_of(operator: RolloutOperator) -> RolloutPlan:
    """Return the plan, after the arguments are rendered.

    :raises InvalidInputError: names the argument that is wrong
    """
    return RolloutPlan(**{name: getattr(operator, name) for name in _NAMES})


def _guardrails(given: Iterable[Any]) -> Sequence[Guardrail]:
    """Return the guardrails. Their package is imported with the first guardrail."""
    if isinstance(given, list | tuple) and not given:
        return ()
    from airflow_provider_ampexp.guardrails import as_guardrails

    return as_guardrails(given)
