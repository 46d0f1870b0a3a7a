"""What a guardrail is, and how it is asked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, get_args, runtime_checkable

from airflow_provider_ampexp.client.errors import InvalidInputError
from airflow_provider_ampexp.rollout.consequence import AnswerEffect, Consequence, Effect, Verdict

_LONGEST = 300
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):\S+@")
_NAMED_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|api_?key)\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&]+)", re.I
)


@dataclass(frozen=True)
class Moment:
    """When and of what a guardrail is asked.

    :param flag_key: the key of the flag or experiment
    :param percentage: what it stands at
    :param stage_started_at: since when, on the service's clock
    :param now: the service's clock
    :param segment: the target segment that is ramped, if it is one
    :param variant: the variant that is rolled out, where there is one
    :param weights: the weights of the variants by their keys, of that segment if one is ramped
    :param context: the Airflow context of the task
    """

    flag_key: str
    percentage: float
    stage_started_at: datetime
    now: datetime
    segment: str | None = None
    variant: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Answer:
    """What a guardrail says.

    :param verdict: ``"pass"``, ``"fail"``, ``"inconclusive"`` (cannot tell yet) or ``"error"`` (could not look)
    :param why: one sentence for whoever reads the log
    :param value: what it measured. What is not finite is left out, since JSON cannot say it.
    :param effect: asks for another effect than the guardrail's own, for this answer: ``"rollback"``, ``"hold"``, or
        ``"wait"``, which counts towards no limit
    :raises InvalidInputError: names what is wrong
    """

    verdict: Verdict
    why: str = ""
    value: float | None = None
    effect: AnswerEffect | None = None

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise InvalidInputError("verdict", f"{self.verdict!r} is none of {', '.join(get_args(Verdict))}")
        if self.effect is not None and self.effect not in get_args(AnswerEffect):
            raise InvalidInputError("effect", f"{self.effect!r} is none of {', '.join(get_args(AnswerEffect))}")
        if self.value is not None:
            value = float(self.value)  # of a Decimal too, and of whatever numbers a warehouse gives
            object.__setattr__(self, "value", value if math.isfinite(value) else None)


@runtime_checkable
class Guardrail(Protocol):
    """A check. It reads, and never changes anything."""

    @property
    def name(self) -> str:
        """What logs call it; no two guardrails of a rollout share one."""

    @property
    def consequence(self) -> Consequence:
        """What it does to the rollout, and after how many answers in a row."""

    def check(self, moment: Moment) -> Answer:
        """Look, and answer. Raising is the verdict ``error``: a check that broke says nothing about the feature."""


@dataclass(frozen=True, kw_only=True)
class ActingGuardrail:
    """The arguments of :class:`~airflow_provider_ampexp.rollout.consequence.Consequence`, for guardrails to take."""

    effect: Effect = "rollback"
    dry_run: bool = False
    failure_limit: int = 1
    inconclusive_limit: int = 5
    error_limit: int = 5

    def __post_init__(self) -> None:
        _ = self.consequence  # refuses what is wrong while the DAG is parsed

    @property
    def consequence(self) -> Consequence:
        """What it does to the rollout, and after how many answers in a row."""
        return Consequence(self.effect, self.dry_run, self.failure_limit, self.inconclusive_limit, self.error_limit)


def ask(guardrails: Iterable[Guardrail], moment: Moment) -> list[tuple[Guardrail, Answer]]:
    """Ask each of them. One that raises has answered ``error``, with what it raised."""
    return [(one, _asked(one, moment)) for one in guardrails]


def number(value: float) -> str:
    """A number as a person writes it: ``3``, ``0.034``, ``12500``."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.12g}"


def _asked(guardrail: Guardrail, moment: Moment) -> Answer:
    try:
        answer = guardrail.check(moment)
    except Exception as error:
        return Answer("error", _shown(f"{type(error).__name__}: {error}"))
    if not isinstance(answer, Answer):
        return Answer("error", _shown(f"it returned {answer!r} in place of an Answer"))
    return answer


def _shown(text: str) -> str:
    """One short line without secrets: drivers like to repeat how they were told to connect."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]  # Airflow's own way to it, in 3.2 and in 3.3

    line = " ".join(str(redact(text)).split())
    line = _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", line))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
