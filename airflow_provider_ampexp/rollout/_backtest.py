"""The backtest of a plan: the past releases of a flag, and where the plan's guardrails would have stopped them. Pure.

The times of the checks and the counting of the results are those of a rollout: ``Evaluation`` and ``RolloutState``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    ExposureChange,
    FlagSnapshot,
    VersionEntry,
    exposure_changes,
)
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._stages import ResolvedStage
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision

LOWERED_WITHIN = timedelta(days=14)
"""A flag that is lowered later than this after its last raise was lowered for another reason, such as its clean-up."""


@dataclass(frozen=True)
class PastStage:
    """A percentage of a past release.

    :param left_at: when the percentage changed, or the end of the backtest
    :param entry: the version that set the percentage
    """

    percentage: float
    began_at: datetime
    left_at: datetime
    entry: VersionEntry


@dataclass(frozen=True)
class PastRelease:
    """The raises of a flag up to its next lowering, oldest first. ``lowered`` is that lowering, if it was in time."""

    stages: tuple[PastStage, ...]
    lowered: ExposureChange | None = None


@dataclass(frozen=True)
class Look:
    """A check that the guardrails would have had."""

    stage: PastStage
    at: datetime
    soak_ends_at: datetime
    statuses: tuple[GuardrailStatus, ...] = ()
    """The statuses after the last look of this stage."""


Ask: TypeAlias = Callable[[Look], Iterable[GuardrailStatus]]
"""Runs the guardrails, and returns the statuses after it."""


@dataclass(frozen=True)
class CheckedLook:
    """A look with its results, and what they demand together."""

    look: Look
    statuses: tuple[GuardrailStatus, ...]
    decision: GuardrailDecision
    why: str


@dataclass(frozen=True)
class ReleaseBacktest:
    """A past release, and the looks that the guardrails would have had.

    :param stopped: the look at which the rollout would have rolled back
    :param held: the first look at which the guardrails would have held it
    """

    release: PastRelease
    looks: tuple[CheckedLook, ...]
    stopped: CheckedLook | None
    held: CheckedLook | None

    @property
    def earlier_by(self) -> timedelta | None:
        """How much earlier the rollout would have stopped than the flag was lowered."""
        lowered = self.release.lowered
        if self.stopped is None or lowered is None or lowered.entry.at is None:
            return None
        return lowered.entry.at - self.stopped.look.at


def past_releases(history: Iterable[VersionEntry], since: datetime, until: datetime) -> list[PastRelease]:
    """Return the releases whose first raise is in a period, oldest first.

    :param history: the versions of the flag. A version without a time is ignored.
    """
    timed = tuple(entry for entry in history if entry.at is not None and entry.at < until)
    changes = [
        change
        for change in exposure_changes(timed)
        if change.after.effective_percentage != change.before.effective_percentage
    ]
    releases: list[PastRelease] = []
    stages: list[PastStage] = []
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        if change.raises:
            began, left = _time(change), _time(following) if following else until
            stages.append(PastStage(change.after.effective_percentage, began, left, change.entry))
        if stages and (following is None or following.lowers):
            in_time = following is not None and _time(following) - stages[-1].began_at <= LOWERED_WITHIN
            releases.append(PastRelease(tuple(stages), following if in_time else None))
            stages = []
    return [release for release in releases if release.stages[0].began_at >= since]


def backtest(plan: RolloutPlan, release: PastRelease, ask: Ask) -> ReleaseBacktest:
    """Ask the guardrails at each look of a release, up to the one at which the rollout would have rolled back.

    :param plan: its soaks and check intervals apply, and the limits of its guardrails
    """
    looks: list[CheckedLook] = []
    held: CheckedLook | None = None
    for stage in release.stages:
        for checked, stops in _looks(plan, stage, ask):
            looks.append(checked)
            if stops:
                return ReleaseBacktest(release, tuple(looks), checked, held)
            if held is None and checked.decision == GuardrailDecision.HOLD:
                held = checked
    return ReleaseBacktest(release, tuple(looks), None, held)


def _looks(plan: RolloutPlan, stage: PastStage, ask: Ask) -> Iterator[tuple[CheckedLook, bool]]:
    """Yield each look of a stage, and whether the rollout would have rolled back after it."""
    plan = _plan_at(plan, stage.percentage)
    exposure = Exposure(stage.percentage, enabled=True)
    seen = FlagSnapshot(exposure, history=(replace(stage.entry, exposure=exposure),))
    state, now = RolloutState().after_observation(plan, seen, stage.began_at), stage.began_at
    while (view := Evaluation(plan, seen, state, now)).is_checked and not view.guardrails_passed:
        now = max(now, view.check_is_due)
        if now > stage.left_at:
            return
        look = Look(stage, now, view.soak_ends, state.statuses)
        state = state.after_checks(ask(look), now)
        view = Evaluation(plan, seen, state, now)
        checked = CheckedLook(look, state.statuses, view.decision, view.said)
        held_too_long = view.is_held_too_long
        stops = view.decision == GuardrailDecision.ROLL_BACK or (held_too_long and plan.on_hold_timeout == "rollback")
        yield checked, stops
        if held_too_long:
            return


def _plan_at(plan: RolloutPlan, percentage: float) -> RolloutPlan:
    """Return the plan with a stage of this percentage. A percentage between two stages has the longer soak of both."""
    above = tuple(stage for stage in plan.all_stages if stage.percentage > percentage)
    near = (plan.stage_at(percentage),) if plan.stage_at(percentage) else (plan.highest_below(percentage), *above[:1])
    soak = max(stage.soak for stage in near if stage is not None)
    stage = ResolvedStage(percentage, soak)  # type: ignore[arg-type]  # a person may have set a fraction
    without: Any = {"soak": None, "approve_before": (), "approvers": (), "approval_timeout": None}
    return replace(plan, stages=(stage, *above), rollback="off", **without)


def _time(change: ExposureChange) -> datetime:
    assert change.entry.at is not None  # others are ignored
    return change.entry.at
