"""The changes of a flag that its own rollout may have made. Pure.

Many tasks share one key, so the name in a version proves nothing. An attempt of a rollout only sets the next stage,
after the full soak of the stage before, inside the window and without the hold tag. Each other change is external.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    ExposureChange,
    FlagSnapshot,
    VersionEntry,
    exposure_changes,
    version_of_exposure,
    versions_before,
)
from airflow_provider_ampexp.rollout._plan import RolloutPlan

# A raise that was decided inside the window may be written shortly after the window has closed.
_UNDER_WAY = timedelta(minutes=2)


@dataclass(frozen=True)
class OwnSteps:
    """The steps that a rollout may take, by its plan and the flag's history.

    :param history: newest first
    :param finished: the percentages of stages whose own tasks succeeded. A person may have ended such a soak early, by
        marking the task as success.
    """

    plan: RolloutPlan
    history: tuple[VersionEntry, ...]
    finished: Collection[int] = ()

    def could_make(self, change: ExposureChange) -> bool:
        """Whether a task of this rollout may have made a change: exactly the next stage, at its time."""
        return (
            is_next_stage(self.plan, change)
            and self._is_due_before_this_task_ends(change)
            and self._had_soaked(change)
            and self._was_open(change)
            and not self._was_held(change)
        )

    def first(self, began: datetime | None) -> ExposureChange | None:
        """Return the first step of this rollout at a time or later; ``None`` without a time or a step."""
        if began is None:
            return None
        return next((change for change in exposure_changes(self.history, began) if self.could_make(change)), None)

    def _is_due_before_this_task_ends(self, change: ExposureChange) -> bool:
        """Whether the step is not beyond this task: in a group, the tasks of later stages have not begun."""
        if self.plan.approval is not None:
            return change.after.percentage < self.plan.approval.before
        return self.plan.only is None or change.after.percentage <= self.plan.only

    def _had_soaked(self, change: ExposureChange) -> bool:
        """Whether the soak of the stage before was complete. A missing time in the history counts as too early."""
        left = self.plan.stage_at(change.before.reached)
        is_only_part = self.plan.only is not None or self.plan.approval is not None
        if left is None or left.percentage in self.finished or (is_only_part and left not in self.plan.own_stages):
            return True
        if not left.soak:
            return True
        began = version_of_exposure(FlagSnapshot(change.before, history=versions_before(self.history, change)))
        if began is None or began.at is None or change.entry.at is None:
            return False
        return change.entry.at - began.at >= left.soak

    def _was_open(self, change: ExposureChange) -> bool:
        window, at = self.plan.window, change.entry.at
        return window is None or (at is not None and (window.is_open(at) or window.is_open(at - _UNDER_WAY)))

    def _was_held(self, change: ExposureChange) -> bool:
        before = versions_before(self.history, change)
        return bool(before) and has_tag(before[0].tags, self.plan.hold_tag)


def is_next_stage(plan: RolloutPlan, change: ExposureChange) -> bool:
    """Whether a change sets exactly the plan's next stage after the exposure before the change."""
    stage = plan.next_above(change.before.reached)
    return stage is not None and change.after == Exposure(stage.percentage, enabled=True)


def began_after_a_clear(
    plan: RolloutPlan, history: tuple[VersionEntry, ...], began: datetime | None
) -> datetime | None:
    """Return when a run began for the last time: after its newest rollback that an own step followed.

    No attempt raises after a rollback of its run. So a person cleared a task between the two.

    :param began: when the run began; returned without such a step
    """
    if began is None:
        return None
    steps, lowered = OwnSteps(plan, history), None
    for change in exposure_changes(history, began):
        if change.lowers:
            lowered = change.entry
        elif lowered and lowered.at and lowered.by == change.entry.by and steps.could_make(change):
            began = lowered.at + timedelta(microseconds=1)
    return began


def before_the_rollout(plan: RolloutPlan, seen: FlagSnapshot) -> Exposure | None:
    """Return the exposure before the unbroken raises of one actor, by this plan, that led to the present exposure.

    :returns: the present exposure without such raises; ``None`` if the history does not show them
    """
    start, by = seen.exposure, None
    history = seen.history
    if not history or history[0].exposure != start:
        return None if start.effective_percentage else start
    for newer, older in pairwise(history):
        if older.exposure is None:
            return None if start.effective_percentage else start
        if older.exposure == start:
            continue
        if by not in (None, newer.by) or not is_next_stage(plan, ExposureChange(older.exposure, start, newer)):
            return start
        start, by = older.exposure, newer.by
    return start
