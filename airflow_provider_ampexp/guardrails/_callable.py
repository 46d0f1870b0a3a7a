"""A guardrail that calls your function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import (
    DEFAULT_TIMEOUT,
    CheckContext,
    CheckResult,
    Guardrail,
    timeout_of,
)
from airflow_provider_ampexp.rollout._analysis import Effect, GuardrailPolicy
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_positive_duration
from airflow_provider_ampexp.rollout._vocabulary import Verdict

CheckFunction: TypeAlias = Callable[[CheckContext], "CheckResult | bool | None"]


class CallableGuardrail:
    """Call a function.

    :param function: takes a :class:`~airflow_provider_ampexp.guardrails.CheckContext`. It returns ``True`` for pass,
        ``False`` for fail, ``None`` for inconclusive, or a
        :class:`~airflow_provider_ampexp.guardrails.CheckResult` with a reason. Any other
        value, and an exception, is an error.
    :param name: the name in logs; default: the function's name
    :param effect: ``"rollback"``, or ``"hold"`` to stop raising until the guardrail passes
    :param dry_run: only report, without an effect
    :param failure_limit: the number of consecutive fails before the effect
    :param inconclusive_limit: the number of consecutive inconclusive results before the effect
    :param error_limit: the number of consecutive errors before the effect
    :param timeout: the time limit: a ``timedelta`` or a text such as ``"5m"``. After it the result is an error.
    :raises InvalidInputError: when an argument is invalid; the error names the argument
    """

    def __init__(
        self,
        function: CheckFunction,
        name: str | None = None,
        *,
        effect: Effect = "rollback",
        dry_run: bool = False,
        failure_limit: int = 1,
        inconclusive_limit: int = 5,
        error_limit: int = 5,
        timeout: DurationLike = DEFAULT_TIMEOUT,
    ) -> None:
        if not callable(function):
            raise InvalidInputError("function", f"expected a function, got {function!r}")
        self._function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.consequence = GuardrailPolicy(effect, dry_run, failure_limit, inconclusive_limit, error_limit)
        self.timeout = parse_positive_duration("timeout", timeout)

    def check(self, moment: CheckContext) -> CheckResult:
        """Call the function."""
        said: object = self._function(moment)
        if isinstance(said, CheckResult):
            return said
        if said is None:
            return CheckResult(Verdict.INCONCLUSIVE, "the function returned None")
        if hasattr(said, "item"):
            said = said.item()  # a comparison of numpy's numbers returns numpy's bool
        if not isinstance(said, bool):
            raise TypeError(f"expected True, False, None or a CheckResult, got {said!r}")
        return CheckResult(Verdict.PASS if said else Verdict.FAIL, f"the function returned {said}")

    def __repr__(self) -> str:
        # Without the function's address, which differs at each parse of the DAG.
        return f"{type(self).__name__}({self.name!r})"


def as_guardrail(given: object) -> Guardrail:
    """Return a guardrail unchanged, and wrap a function.

    :raises InvalidInputError: when the value is neither
    """
    if not isinstance(given, type):
        if isinstance(given, Guardrail):
            _ = timeout_of(given)  # raises for an invalid timeout when Airflow parses the DAG
            return given
        if callable(given):
            return CallableGuardrail(given)
    raise InvalidInputError(
        "guardrails", f"expected a function or a guardrail (with name, consequence and check), got {given!r}"
    )


def as_guardrails(given: Iterable[object]) -> list[Guardrail]:
    """Return guardrails, and wrap functions.

    :raises InvalidInputError: when a value is neither, or two have the same name
    """
    guardrails = [as_guardrail(check) for check in validate.items("guardrails", given, "a list of guardrails")]
    names = [guardrail.name for guardrail in guardrails]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError("guardrails", f"{names.count(name)} have the name {name!r}; give each its own name")
    return guardrails
