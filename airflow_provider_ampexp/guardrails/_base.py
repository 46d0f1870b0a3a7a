"""What a guardrail is, and how it is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, get_args, runtime_checkable

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._analysis import AnswerEffect, CheckStatus, Effect, GuardrailPolicy
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration

DEFAULT_TIMEOUT = timedelta(minutes=10)
"""The time limit of a guardrail that does not have its own."""


@dataclass(frozen=True)
class CheckContext:
    """When and of what a guardrail is asked.

    :param flag_key: the key of the flag or experiment
    :param percentage: what it stands at
    :param stage_started_at: since when, on the service's clock
    :param now: the service's clock
    :param segment: the target segment that is ramped, if it is one
    :param variant: the variant that is rolled out, where there is one
    :param weights: the weights of the variants by their keys, of that segment if one is ramped
    :param context: the Airflow context of the task
    :param is_preflight: whether this is the question before the first raise: can it answer? Its verdict does not count.
    """

    flag_key: str
    percentage: float
    stage_started_at: datetime
    now: datetime
    segment: str | None = None
    variant: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_preflight: bool = False


@dataclass(frozen=True)
class CheckResult:
    """What a guardrail says.

    :param verdict: ``"pass"``, ``"fail"``, ``"inconclusive"`` (cannot tell yet) or ``"error"`` (could not look)
    :param why: one sentence for the log
    :param value: what it measured. What is not finite is left out, since JSON cannot say it.
    :param effect: asks for another effect than the guardrail's own, for this answer: ``"rollback"``, ``"hold"``, or
        ``"wait"``, which counts towards no limit
    :raises InvalidInputError: names what is wrong
    """

    verdict: CheckStatus
    why: str = ""
    value: float | None = None
    effect: AnswerEffect | None = None

    def __post_init__(self) -> None:
        if self.verdict not in get_args(CheckStatus):
            raise InvalidInputError("verdict", f"{self.verdict!r} is none of {', '.join(get_args(CheckStatus))}")
        if self.effect is not None and self.effect not in get_args(AnswerEffect):
            raise InvalidInputError("effect", f"{self.effect!r} is none of {', '.join(get_args(AnswerEffect))}")
        if self.value is not None:
            value = float(self.value)  # of a Decimal too, and of all kinds of numbers that a warehouse gives
            object.__setattr__(self, "value", value if math.isfinite(value) else None)


@runtime_checkable
class Guardrail(Protocol):
    """A check. It reads, and never changes anything.

    Two more attributes are optional. ``timeout`` is how long ``check`` may take: a ``timedelta`` or a text such as
    ``"5m"``; 10 minutes if not given. ``preflight(moment)`` is called in place of ``check`` before the first
    raise, and raises where the guardrail cannot answer.
    """

    @property
    def name(self) -> str:
        """What logs call it; no two guardrails of a rollout share one."""

    @property
    def consequence(self) -> GuardrailPolicy:
        """What it does to the rollout, and after how many answers in a row."""

    def check(self, moment: CheckContext) -> CheckResult:
        """Look, and answer. Raising is the verdict ``error``: a check that broke says nothing about the feature."""


@dataclass(frozen=True, kw_only=True)
class GuardrailOptions:
    """What every guardrail of this package takes: its consequence and its time limit."""

    effect: Effect = "rollback"
    dry_run: bool = False
    failure_limit: int = 1
    inconclusive_limit: int = 5
    error_limit: int = 5
    timeout: DurationLike = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        _ = self.consequence  # refuses what is wrong while the DAG is parsed
        object.__setattr__(self, "timeout", checked_timeout(self.timeout))

    @property
    def consequence(self) -> GuardrailPolicy:
        """What it does to the rollout, and after how many answers in a row."""
        return GuardrailPolicy(self.effect, self.dry_run, self.failure_limit, self.inconclusive_limit, self.error_limit)


def timeout_of(guardrail: object) -> timedelta:
    """How long a check of this guardrail may take.

    :raises InvalidInputError: when its ``timeout`` is no duration, or zero
    """
    given: DurationLike | None = getattr(guardrail, "timeout", None)
    return DEFAULT_TIMEOUT if given is None else checked_timeout(given)


def checked_timeout(given: DurationLike) -> timedelta:
    """Return the time limit as a duration.

    :raises InvalidInputError: when it is none, or zero
    """
    limit = parse_duration("timeout", given)
    if not limit:
        raise InvalidInputError("timeout", "must be greater than zero")
    return limit


def number(value: float) -> str:
    """A number as a person writes it: ``3``, ``0.034``, ``12500``."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.12g}"
