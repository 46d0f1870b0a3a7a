"""A guardrail that is a function of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import (
    DEFAULT_TIMEOUT,
    CheckContext,
    CheckResult,
    Guardrail,
    checked_timeout,
    timeout_of,
)
from airflow_provider_ampexp.rollout._analysis import Effect, GuardrailPolicy
from airflow_provider_ampexp.rollout._duration import DurationLike

CheckFunction: TypeAlias = Callable[[CheckContext], "CheckResult | bool | None"]


class CallableGuardrail:
    """Asks a function.

    :param function: takes a :class:`~airflow_provider_ampexp.guardrails.CheckContext`. It returns ``True`` for pass,
        ``False`` for fail, ``None`` for inconclusive, or a
        :class:`~airflow_provider_ampexp.guardrails.CheckResult` with a reason. Any other
        value, and an exception, is an error.
    :param name: what logs call it; the function's own name if not given
    :param effect: ``"rollback"``, or ``"hold"`` to only stop raising until it recovers
    :param dry_run: report and never act
    :param failure_limit: this many fails in a row have the effect
    :param inconclusive_limit: so do this many inconclusive answers in a row
    :param error_limit: so does raising this many times in a row
    :param timeout: how long the function may take: a ``timedelta`` or a text such as ``"5m"``. Past it the
        answer is an error.
    :raises InvalidInputError: names the argument that is wrong
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
            raise InvalidInputError("function", f"{function!r} is not a function")
        self._function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.consequence = GuardrailPolicy(effect, dry_run, failure_limit, inconclusive_limit, error_limit)
        self.timeout = checked_timeout(timeout)

    def check(self, moment: CheckContext) -> CheckResult:
        """Call the function."""
        said: object = self._function(moment)
        if isinstance(said, CheckResult):
            return said
        if said is None:
            return CheckResult("inconclusive", "it says that it cannot tell")
        if hasattr(said, "item"):
            said = said.item()  # comparing numpy's numbers gives numpy's own bool
        if not isinstance(said, bool):
            raise TypeError(f"it returned {said!r}, which is neither true, false, None nor an Answer")
        return CheckResult("pass" if said else "fail", f"it returned {said}")

    def __repr__(self) -> str:
        # Without the function's address, which would differ each time the DAG is parsed.
        return f"{type(self).__name__}({self.name!r})"


def as_guardrail(given: object) -> Guardrail:
    """Take a guardrail as it is, and wrap a function.

    :raises InvalidInputError: when it is neither
    """
    if not isinstance(given, type):
        if isinstance(given, Guardrail):
            _ = timeout_of(given)  # refuses what is wrong while the DAG is parsed
            return given
        if callable(given):
            return CallableGuardrail(given)
    raise InvalidInputError(
        "guardrails", f"{given!r} is neither a function nor a guardrail, which has a name, a consequence and a check"
    )


def as_guardrails(given: Iterable[object]) -> list[Guardrail]:
    """Take several.

    :raises InvalidInputError: when one is neither a guardrail nor a function, or two have one name: they are
        remembered by it
    """
    if not isinstance(given, Iterable):
        raise InvalidInputError("guardrails", f"expected a list of guardrails, got {given!r}")
    guardrails = [as_guardrail(one) for one in given]
    names = [one.name for one in guardrails]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError("guardrails", f"{names.count(name)} of them are called {name!r}; name them apart")
    return guardrails
