"""The forecast of a rollout: the earliest time of each stage and of the end.

It runs the rule itself, ``decide``, on a flag and a clock of its own. So windows, dates without releases and changes of
the wall clock count exactly as in the rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._actions import Complete, RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, GuardrailStatus
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._duration import LONGEST
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import Verdict

_BY = "forecast"


@dataclass(frozen=True)
class ForecastStage:
    """A stage, and the earliest time at which the rollout sets it."""

    percentage: int
    at: datetime


@dataclass(frozen=True)
class Forecast:
    """The earliest course of a rollout.

    :param stages: the stages that the rollout sets, in order
    :param finish: the earliest time at which the rollout is complete
    """

    stages: tuple[ForecastStage, ...]
    finish: datetime


def forecast(plan: RolloutPlan, start: datetime, seen: FlagSnapshot | None = None) -> Forecast:
    """Forecast a rollout in which each guardrail passes at once and each approval comes at once.

    :param start: when the rollout begins, with a time zone
    :param seen: the flag at that time; if not given, a new flag at 0 %, disabled if the plan enables it
    :raises InvalidInputError: when the window never opens again, a person holds the rollout with the tag, or the
        rollout refuses to begin from this flag, or it would not finish before the year 10000
    """
    course = _Course(plan, start, seen)
    try:
        while (finish := course.advance()) is None:
            pass
    except OverflowError:
        raise InvalidInputError("stages", "the rollout does not finish before the year 10000") from None
    return Forecast(tuple(course.stages), finish)


class _Course:
    """A rollout under way, of a flag that only this rollout changes."""

    def __init__(self, plan: RolloutPlan, start: datetime, seen: FlagSnapshot | None) -> None:
        # Guardrails that pass once at the end of a soak, and approvals at once: more checks make nothing earlier.
        without_approvals = replace(plan, approve_before=(), approvers=(), approval_timeout=None, approval=None)
        self._plan = replace(without_approvals, check_every=LONGEST, preview=None)
        self._now = start
        self._state = RolloutState()
        self._seen = seen or self._after(FlagSnapshot(Exposure(0, not plan.enable)))
        self.stages: list[ForecastStage] = []

    def advance(self) -> datetime | None:
        """Carry out the next action.

        :returns: the time of the end, once the rollout is complete
        """
        action = decide(self._plan, self._seen, self._state, self._now)
        self._state = self._state.after_observation(self._plan, self._seen, self._now)
        if isinstance(action, Complete):
            return self._now
        if isinstance(action, SetStage):
            self._raise(action.stage.percentage)
        elif isinstance(action, RunGuardrails):
            passed = GuardrailStatus("all", GuardrailPolicy(), Verdict.PASS, at=self._now)
            self._state = self._state.after_checks([passed], self._now)
        elif isinstance(action, Wait) and not action.is_held:
            self._now = action.until
        else:
            raise InvalidInputError("stages", f"the rollout does not begin from {self._seen.exposure}: {action.why}")
        return None

    def _raise(self, percentage: int) -> None:
        before, after = self._seen.exposure, Exposure(percentage, True)
        self._seen = self._after(replace(self._seen, exposure=after))
        self._state = self._state.after_set_stage(before, self._now, after, self._seen, self._now)
        self.stages.append(ForecastStage(percentage, self._now))

    def _after(self, seen: FlagSnapshot) -> FlagSnapshot:
        """The flag with a new version for its exposure."""
        version = VersionEntry(seen.newest_version + 1, self._now, _BY, seen.exposure, seen.tags, seen.audience)
        return replace(seen, history=(version, *seen.history))
