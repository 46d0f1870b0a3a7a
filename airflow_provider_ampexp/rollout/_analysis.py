"""From the results of guardrails to a decision, by counting consecutive results. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision, Verdict, VerdictLike

Effect: TypeAlias = Literal["rollback", "hold"]
"""``hold`` raises nothing until the guardrail passes."""

AnswerEffect: TypeAlias = Literal["rollback", "hold", "wait"]
"""The effect of one result. ``wait`` is for a result that is too early: it raises nothing and counts to no limit."""


Worse: TypeAlias = Literal["lower", "higher"]


class LiftInterval(NamedTuple):
    """The bounds of a relative difference of two groups at one check: -0.031 is 3.1 % lower with the feature."""

    low: float
    high: float
    worse: Worse
    """``"lower"`` if a lower metric is worse, or ``"higher"``"""
    at_most_worse: float | None = None
    """The harm that is acceptable, if any; 0.02 is 2 %."""


@dataclass(frozen=True)
class GuardrailPolicy:
    """The effect of a guardrail on its rollout, and the limits of consecutive results.

    :param effect: ``"rollback"``, or ``"hold"`` to raise nothing until the guardrail passes
    :param dry_run: report, without an effect
    :param failure_limit: this many consecutive fails have the effect
    :param inconclusive_limit: this many consecutive inconclusive results have the effect
    :param error_limit: this many consecutive errors have the effect
    :raises InvalidInputError: names the argument
    """

    effect: Effect = "rollback"
    dry_run: bool = False
    failure_limit: int = 1
    inconclusive_limit: int = 5
    error_limit: int = 5

    def __post_init__(self) -> None:
        if self.effect not in get_args(Effect):
            raise InvalidInputError("effect", f"expected 'rollback' or 'hold', got {self.effect!r}")
        if not isinstance(self.dry_run, bool):
            raise InvalidInputError("dry_run", f"expected true or false, got {self.dry_run!r}")
        for field in ("failure_limit", "inconclusive_limit", "error_limit"):
            limit = getattr(self, field)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise InvalidInputError(field, f"expected a whole number, 1 or more, got {limit!r}")


@dataclass(frozen=True)
class GuardrailStatus:
    """The last result of a guardrail at a stage, and the number of consecutive results of its kind.

    :param name: of the guardrail
    :param consequence: of the guardrail
    :param verdict: the last one; ``None`` before the first check, which allows no raise
    :param fails: the number of consecutive fails
    :param inconclusives: the number of consecutive inconclusive results
    :param errors: the number of consecutive errors
    :param why: the sentence of the last result
    :param value: the measured value, if there is one
    :param at: when the check ran
    :param effect: the effect of the last result, in place of the guardrail's own effect
    :param interval: the bounds of the measured value, if it is a relative difference
    """

    name: str
    consequence: GuardrailPolicy
    verdict: Verdict | None = None
    fails: int = 0
    inconclusives: int = 0
    errors: int = 0
    why: str = ""
    value: float | None = None
    at: datetime | None = None
    effect: AnswerEffect | None = None
    interval: LiftInterval | None = None

    def with_result(
        self,
        verdict: VerdictLike,
        why: str,
        value: float | None,
        now: datetime,
        effect: AnswerEffect | None = None,
        interval: LiftInterval | None = None,
    ) -> GuardrailStatus:
        """Return the status after one more result. A result of another kind sets the counters of the others to 0."""
        verdict, counts = Verdict(verdict), effect != "wait"
        return replace(
            self,
            verdict=verdict,
            fails=self.fails + 1 if counts and verdict == Verdict.FAIL else 0,
            inconclusives=self.inconclusives + 1 if counts and verdict == Verdict.INCONCLUSIVE else 0,
            errors=self.errors + 1 if counts and verdict == Verdict.ERROR else 0,
            why=why,
            value=value,
            at=now,
            effect=effect,
            interval=interval,
        )

    @property
    def decision(self) -> GuardrailDecision:
        """The demand of this guardrail now."""
        if self.consequence.dry_run or self.verdict == Verdict.PASS:
            return GuardrailDecision.GO
        return self._without_dry_run

    @property
    def _without_dry_run(self) -> GuardrailDecision:
        count, limit = self._count_and_limit
        if count < limit:
            return GuardrailDecision.WAIT
        return (
            GuardrailDecision.ROLL_BACK
            if (self.effect or self.consequence.effect) == "rollback"
            else GuardrailDecision.HOLD
        )

    @property
    def _count_and_limit(self) -> tuple[int, int]:
        """The number of consecutive results of the last kind, and the number that has the effect."""
        if self.verdict == Verdict.PASS:
            return 0, 1
        if self.verdict == Verdict.FAIL:
            return self.fails, self.consequence.failure_limit
        if self.verdict == Verdict.ERROR:
            return self.errors, self.consequence.error_limit
        return self.inconclusives, self.consequence.inconclusive_limit

    def __str__(self) -> str:
        """Return one line for a log: ``errors (fail 1 of 3, value 0.034): 0.034 is more than 0.02``."""
        if self.verdict is None:
            return f"{self.name} (no check yet)"
        count, limit = self._count_and_limit
        notes = [f"{self.verdict} {count} of {limit}" if count else str(self.verdict)]
        if self.value is not None:
            notes.append(f"value {self.value:.6g}")
        if self.consequence.dry_run:
            is_pass = self.verdict == Verdict.PASS
            notes.append("dry run" if is_pass else f"dry run of {self._without_dry_run.value!r}")
        return f"{self.name} ({', '.join(notes)}){f': {self.why}' if self.why else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, for a deferral or a record."""
        verdict = self.verdict.value if self.verdict else None
        at = self.at.isoformat() if self.at else None
        interval = list(self.interval) if self.interval else None
        return {**asdict(self), "verdict": verdict, "at": at, "interval": interval}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> GuardrailStatus:
        """Read what :meth:`as_json` wrote, in this version or another one. A missing key has its default."""
        known = {field.name: plain[field.name] for field in fields(cls) if field.name in plain}
        limits = plain.get("consequence") or {}
        known["consequence"] = GuardrailPolicy(
            **{field.name: limits[field.name] for field in fields(GuardrailPolicy) if field.name in limits}
        )
        known["verdict"] = next((verdict for verdict in Verdict if verdict == plain.get("verdict")), None)
        known["at"] = datetime.fromisoformat(plain["at"]) if plain.get("at") else None
        known["interval"] = LiftInterval(*plain["interval"][:4]) if plain.get("interval") else None
        return cls(**{"name": "", **known})


def aggregate(statuses: Iterable[GuardrailStatus]) -> tuple[GuardrailDecision, str]:
    """Return the strongest demand of all guardrails, and the statuses with that demand as text.

    :returns: ``GuardrailDecision.GO`` without guardrails
    """
    listed = list(statuses)
    strongest = max(
        (status.decision for status in listed), key=list(GuardrailDecision).index, default=GuardrailDecision.GO
    )
    return strongest, "; ".join(str(status) for status in listed if status.decision == strongest)
