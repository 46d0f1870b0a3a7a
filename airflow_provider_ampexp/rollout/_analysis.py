"""What follows from what the guardrails say: how often in a row, and what then.

Pure counting: no I/O, no clock, no Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from airflow_provider_ampexp._validate import InvalidInputError

CheckStatus: TypeAlias = Literal["pass", "fail", "inconclusive", "error"]
"""``error`` is a guardrail that raised: it says nothing about the feature, so it is neither a fail nor a pass."""

Effect: TypeAlias = Literal["rollback", "hold"]
"""``hold`` only stops raising, and lets go when the guardrail passes again."""

AnswerEffect: TypeAlias = Literal["rollback", "hold", "wait"]
"""What one answer may ask for instead. ``wait`` is too early to count: nothing is raised, and no limit draws nearer."""

Decision: TypeAlias = Literal["go", "wait", "hold", "roll back"]
"""In rising order: raise, ask again first, do not raise, take it down."""


@dataclass(frozen=True)
class GuardrailPolicy:
    """What a guardrail does to its rollout, and after how many answers in a row.

    :param effect: ``"rollback"``, or ``"hold"`` to only stop raising until it recovers
    :param dry_run: report and never act, so that a new guardrail earns trust first
    :param failure_limit: this many fails in a row have the effect
    :param inconclusive_limit: so do this many inconclusive answers in a row
    :param error_limit: so does raising this many times in a row
    :raises InvalidInputError: names what is wrong
    """

    effect: Effect = "rollback"
    dry_run: bool = False
    failure_limit: int = 1
    inconclusive_limit: int = 5
    error_limit: int = 5

    def __post_init__(self) -> None:
        if self.effect not in get_args(Effect):
            raise InvalidInputError("effect", f"{self.effect!r} is neither 'rollback' nor 'hold'")
        if not isinstance(self.dry_run, bool):
            raise InvalidInputError("dry_run", f"{self.dry_run!r} is neither true nor false")
        for field in ("failure_limit", "inconclusive_limit", "error_limit"):
            limit = getattr(self, field)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise InvalidInputError(field, f"{limit!r} is not a whole number, 1 or more")


@dataclass(frozen=True)
class GuardrailStatus:
    """What is remembered of one guardrail at a stage: its last answer, and how many of that kind there were in a row.

    :param name: the guardrail's
    :param consequence: the guardrail's
    :param verdict: the last one; ``None`` when it was not asked yet, which is no leave to go on
    :param fails: how many in a row, up to now
    :param inconclusives: the same for inconclusive results
    :param errors: the same for errors
    :param why: the sentence of the last answer
    :param value: what it measured, if it did
    :param at: when it was asked
    :param effect: what the last answer asked for instead of the guardrail's own effect
    """

    name: str
    consequence: GuardrailPolicy
    verdict: CheckStatus | None = None
    fails: int = 0
    inconclusives: int = 0
    errors: int = 0
    why: str = ""
    value: float | None = None
    at: datetime | None = None
    effect: AnswerEffect | None = None

    def with_result(
        self, verdict: CheckStatus, why: str, value: float | None, now: datetime, effect: AnswerEffect | None = None
    ) -> GuardrailStatus:
        """One answer more. Any other verdict ends the others' rows."""
        counts = effect != "wait"
        return replace(
            self,
            verdict=verdict,
            fails=self.fails + 1 if counts and verdict == "fail" else 0,
            inconclusives=self.inconclusives + 1 if counts and verdict == "inconclusive" else 0,
            errors=self.errors + 1 if counts and verdict == "error" else 0,
            why=why,
            value=value,
            at=now,
            effect=effect,
        )

    @property
    def decision(self) -> Decision:
        """What this guardrail wants of the rollout now."""
        if self.consequence.dry_run or self.verdict == "pass":
            return "go"
        return self._limit_decision

    @property
    def _limit_decision(self) -> Decision:
        count, limit = self._row
        if count < limit:
            return "wait"
        return "roll back" if (self.effect or self.consequence.effect) == "rollback" else "hold"

    @property
    def _row(self) -> tuple[int, int]:
        """How many of the last verdict there were in a row, and how many have the effect."""
        if self.verdict == "pass":
            return 0, 1
        if self.verdict == "fail":
            return self.fails, self.consequence.failure_limit
        if self.verdict == "error":
            return self.errors, self.consequence.error_limit
        return self.inconclusives, self.consequence.inconclusive_limit

    def __str__(self) -> str:
        """The one line of a log: ``errors (fail 1 of 3, value 0.034): 0.034 is more than 0.02``."""
        if self.verdict is None:
            return f"{self.name} (not asked yet)"
        count, limit = self._row
        notes = [f"{self.verdict} {count} of {limit}" if count else self.verdict]
        if self.value is not None:
            notes.append(f"value {self.value:.6g}")
        if self.consequence.dry_run:
            notes.append("dry run" if self.verdict == "pass" else f"dry run of {self._limit_decision!r}")
        return f"{self.name} ({', '.join(notes)}){f': {self.why}' if self.why else ''}"

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a deferral or a record."""
        return {**asdict(self), "at": self.at.isoformat() if self.at else None}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> GuardrailStatus:
        """Read what :meth:`as_json` wrote, in this version or another one: a missing key has its default."""
        known = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        limits = told.get("consequence") or {}
        known["consequence"] = GuardrailPolicy(
            **{field.name: limits[field.name] for field in fields(GuardrailPolicy) if field.name in limits}
        )
        known["at"] = datetime.fromisoformat(told["at"]) if told.get("at") else None
        return cls(**{"name": "", **known})


def aggregate(streaks: Iterable[GuardrailStatus]) -> tuple[Decision, str]:
    """What all guardrails together want, and why: the gravest wins (roll back, hold, wait, go).

    :returns: ``go`` when there is none
    """
    listed = list(streaks)
    none: Decision = "go"
    acts = max((one.decision for one in listed), key=get_args(Decision).index, default=none)
    return acts, "; ".join(str(one) for one in listed if one.decision == acts)
