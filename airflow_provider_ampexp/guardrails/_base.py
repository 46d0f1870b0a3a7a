"""The interface of a guardrail: its context, its result and its options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, get_args, runtime_checkable

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.rollout._analysis import AnswerEffect, Effect, GuardrailPolicy, LiftInterval
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_positive_duration
from airflow_provider_ampexp.rollout._vocabulary import Verdict, VerdictLike

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._history import VersionEntry

DEFAULT_TIMEOUT = timedelta(minutes=10)
"""The time limit of a guardrail that does not have its own."""


@dataclass(frozen=True)
class CheckContext:
    """The input of a check.

    :param flag_key: the key of the flag or experiment
    :param percentage: the present percentage
    :param stage_started_at: the start of the stage, on the service's clock
    :param now: the service's clock
    :param soak_ends_at: the end of the soak; ``None`` in a preflight
    :param loaded_until: the time up to which the data of the guardrail's warehouse are complete, if it asks for it
    :param segment: the target segment that is ramped, if any
    :param variant: the variant that is rolled out, if any
    :param weights: the weights of the variants by their keys, of the ramped segment if any
    :param config: the configuration of the flag or experiment, as it was read last
    :param history: its versions, newest first
    :param context: the Airflow context of the task
    :param is_preflight: true in the preflight before the first raise. The verdict does not count then, only if the
        guardrail works.
    """

    flag_key: str
    percentage: float
    stage_started_at: datetime
    now: datetime
    segment: str | None = None
    variant: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    config: FlagConfig = field(default_factory=FlagConfig, repr=False)
    history: Sequence[VersionEntry] = field(default=(), repr=False)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_preflight: bool = False
    soak_ends_at: datetime | None = None
    loaded_until: datetime | None = None


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    :param verdict: ``"pass"``, ``"fail"``, ``"inconclusive"`` (no result yet) or ``"error"`` (the check did not work)
    :param why: one sentence for the log
    :param value: the measured value. A value that is not finite is dropped, because JSON does not have it.
    :param effect: replaces the guardrail's effect for this result: ``"rollback"``, ``"hold"``, or ``"wait"``, which
        does not count towards a limit
    :param interval: the bounds of the value, if the value is a relative difference. The Rollouts page draws them over
        time. Bounds that are not finite are dropped.
    :raises InvalidInputError: when an argument is invalid; the error names the argument
    """

    verdict: VerdictLike
    why: str = ""
    value: float | None = None
    effect: AnswerEffect | None = None
    interval: LiftInterval | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.verdict not in list(Verdict):
            raise InvalidInputError("verdict", f"expected one of {', '.join(Verdict)}, got {self.verdict!r}")
        object.__setattr__(self, "verdict", Verdict(self.verdict))
        if self.effect is not None and self.effect not in get_args(AnswerEffect):
            raise InvalidInputError(
                "effect", f"expected one of {', '.join(get_args(AnswerEffect))}, got {self.effect!r}"
            )
        if self.value is not None:
            value = float(self.value)  # also a Decimal, and other numbers of a warehouse
            object.__setattr__(self, "value", value if math.isfinite(value) else None)
        if self.interval is not None and not all(map(math.isfinite, (self.interval.low, self.interval.high))):
            object.__setattr__(self, "interval", None)


@runtime_checkable
class Guardrail(Protocol):
    """A check. It reads, and changes nothing.

    Two more attributes are optional. ``timeout`` is the time limit of ``check``: a ``timedelta`` or a text such as
    ``"5m"``; default: 10 minutes. ``preflight(moment)`` runs before the first raise instead of ``check``, and raises if
    the guardrail cannot answer.
    """

    @property
    def name(self) -> str:
        """The name in logs, unique within a rollout."""

    @property
    def consequence(self) -> GuardrailPolicy:
        """The effect on the rollout, and the limits of consecutive results."""

    def check(self, moment: CheckContext) -> CheckResult:
        """Run the check and return its result. An exception counts as the verdict ``error``."""


@dataclass(frozen=True, kw_only=True)
class GuardrailOptions:
    """The options of all guardrails of this package: effect, limits and time limit."""

    effect: Effect = "rollback"
    dry_run: bool = False
    failure_limit: int = 1
    inconclusive_limit: int = 5
    error_limit: int = 5
    timeout: DurationLike = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        _ = self.consequence  # raises for invalid options when Airflow parses the DAG
        object.__setattr__(self, "timeout", parse_positive_duration("timeout", self.timeout))

    @property
    def consequence(self) -> GuardrailPolicy:
        """The effect on the rollout, and the limits of consecutive results."""
        return GuardrailPolicy(self.effect, self.dry_run, self.failure_limit, self.inconclusive_limit, self.error_limit)


def timeout_of(guardrail: object) -> timedelta:
    """Return the time limit of a guardrail.

    :raises InvalidInputError: when its ``timeout`` is not a duration, or zero
    """
    given: DurationLike | None = getattr(guardrail, "timeout", None)
    return DEFAULT_TIMEOUT if given is None else parse_positive_duration("timeout", given)


def number(value: float) -> str:
    """Format a number for a person: ``3``, ``0.034``, ``12500``."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.12g}"
