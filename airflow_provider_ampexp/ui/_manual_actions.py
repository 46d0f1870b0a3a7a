"""The effect of each manual action in Airflow on a rollout. Pure: no I/O, no clock, no Airflow.

The rules of the rollout decide the effect, so that the page has no rules of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Complete,
    Preflight,
    RequestApproval,
    RollBack,
    RunGuardrails,
    SetStage,
)
from airflow_provider_ampexp.rollout._approval import ApprovalResponse
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._group_rollback import decide_group_rollback
from airflow_provider_ampexp.rollout._history import FlagSnapshot
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._rollout_tasks import RUN_UNDER_WAY, Rollout, RolloutTask


class ManualAction(NamedTuple):
    """A click in Airflow, and its effect on the rollout in sentences."""

    action: str
    effect: str


def manual_actions(rollout: Rollout, seen: FlagSnapshot | None, now: datetime) -> list[ManualAction]:
    """Return the manual actions that matter now; none if Amplitude does not show the percentage.

    :param seen: the flag with its history
    :param now: the service's clock
    """
    if seen is None:
        return []
    effects = _Effects(rollout, seen, now)
    return list(effects.after_the_end() if rollout.is_over else effects.under_way())


class _Effects:
    """The effects on one rollout at one time."""

    def __init__(self, rollout: Rollout, seen: FlagSnapshot, now: datetime) -> None:
        self.rollout = rollout
        self.seen = seen
        self.now = now
        self.task = self._subject()
        self.name = self.task.task_id

    def _subject(self) -> RolloutTask:
        """Return the task for a click: after the end, the stage that failed, not its rollback task."""
        failed = (task for task in self.rollout.tasks if task.is_part and task.has_failed)
        return next(failed, self.rollout.task) if self.rollout.is_over else self.rollout.task

    def under_way(self) -> Iterator[ManualAction]:
        task, plan = self.task, self.task.plan
        if plan.approval is not None:
            following = (
                f"The task of the stage {plan.approval.before} % {self._would(_stage(plan, plan.approval.before))}."
            )
            yield ManualAction(f"Approve, or mark {self.name} as success", following)
            yield ManualAction("Reject", self._rejected())
            yield ManualAction(f"Mark {self.name} as failed", self._torn_down())
        elif plan.only is not None:
            yield ManualAction(f"Mark {self.name} as success", self._promoted())
            yield ManualAction(f"Mark {self.name} as failed", self._torn_down())
        else:
            stays = f"The task ends. {self._keeps}: nothing is rolled back, and no guardrail runs."
            yield ManualAction(f"Mark {self.name} as failed", stays)
            ends = f"The task ends, and the tasks after it start. {self._keeps}: no further stage is set."
            yield ManualAction(f"Mark {self.name} as success", ends)
        if self.rollout.is_rolling_back:
            yield ManualAction(f"Clear {self.name}", self._torn_down())
        else:
            yield ManualAction(f"Clear {self.name}", f"The task starts again and {self._would(plan)}.")
        if task.is_paused:
            resumes = "The task reads the flag and continues. Time in the pause counts as soak time."
            yield ManualAction("Unpause the DAG", resumes)
        else:
            pauses = f"Airflow does not resume the task. {self._keeps}: no guardrail runs, and nothing is rolled back."
            yield ManualAction("Pause the DAG", pauses)

    def after_the_end(self) -> Iterator[ManualAction]:
        task = self.task
        yield ManualAction(f"Clear {self.name}", f"The task starts again and {self._would(task.plan)}.{self._refusal}")
        if self.rollout.is_group:
            whole = replace(task.plan, only=None, approval=None)
            yield ManualAction(
                "Clear the whole group", f"The rollout starts again and {self._would(whole)}.{self._refusal}"
            )
        stays = f"Only the state in Airflow changes. {self._keeps}."
        if task.state == "success":
            yield ManualAction(f"Mark {self.name} as failed", stays)
        elif task.plan.only is not None:
            yield ManualAction(f"Mark {self.name} as success", self._promoted())
        else:
            yield ManualAction(
                f"Mark {self.name} as success", f"{stays} Airflow starts the tasks after it that did not run."
            )

    @property
    def _keeps(self) -> str:
        """The exposure of users until the next write."""
        users = f"Users of segment {self.task.plan.segment}" if self.task.plan.segment else "Users"
        if not self.seen.exposure.effective_percentage:
            return f"The flag stays at {self.seen.exposure}"
        return f"{users} keep the feature at {self.seen.exposure}"

    @property
    def _refusal(self) -> str:
        """What a run that has ended refuses when it starts again; empty if it refuses nothing."""
        changed = self.rollout.ending.get("cause") in ("drift", "disabled")
        if not changed or self.task.run_state in RUN_UNDER_WAY:
            return ""
        return (
            " First it fails if the change that stopped it is still the newest: a run that starts again does not "
            "overwrite that change. Start a new run to continue from there, or set if_changed_since='write'."
        )

    def _would(self, plan: RolloutPlan) -> str:
        """Return the first action of a task with this plan, if a person starts it now."""
        state = RolloutState(preflight_owed=plan.checked and plan.preflight)
        act = decide(plan, self.seen, state, self.now)
        view = Evaluation(plan, self.seen, state, self.now)
        stands = self.seen.exposure
        enables = "" if stands.enabled else " and enables the flag"
        if isinstance(act, SetStage):
            return f"sets {act.stage.percentage} %{enables}"
        if isinstance(act, Preflight) and view.next_stage is not None:
            return f"runs the preflight of the guardrails, then sets {view.next_stage.percentage} %{enables}"
        if isinstance(act, RunGuardrails):
            return f"runs the guardrails before it continues from {stands}{_soak(view)}"
        if isinstance(act, RequestApproval):
            return "requests the approval again"
        if isinstance(act, Complete):
            return "ends with success at once. It writes nothing"
        if isinstance(act, Abort):
            return f"stops, and writes nothing: {act.why}"
        if isinstance(act, RollBack):
            return f"rolls the flag back to {act.to}" if act.to else f"fails and leaves the flag at {stands}"
        if view.is_soaking:
            return f"waits at {stands}{_soak(view)}"
        return "waits while the flag has its hold tag" if view.is_held else f"waits at {stands}, as now"

    def _promoted(self) -> str:
        plan, only = self.task.plan, self.task.plan.only
        following = plan.next_above(only) if only is not None else None
        skips = "The stage ends without the rest of its soak and its checks."
        if following is None:
            return f"{skips} It is the last stage, so the rollout is done."
        return (
            f"{skips} The task of the next stage {self._would(_stage(plan, following.percentage))}. "
            "An approval comes first if the group has one there."
        )

    def _rejected(self) -> str:
        rollout_state = replace(self.task.rollout_state or RolloutState(), response=ApprovalResponse(False, "a person"))
        act = decide(self.task.plan, self.seen, rollout_state, self.now)
        if isinstance(act, RollBack) and act.to is not None:
            return f"The task lowers the flag from {self.seen.exposure} to {act.to}, reads that back and fails."
        if isinstance(act, RollBack):
            return f"The task fails. {self._keeps}: {act.why_left}."
        return f"{self._keeps}. The stages that follow are skipped."

    def _torn_down(self) -> str:
        """Return the effect of the group's rollback task after a failure."""
        plan = replace(self.rollout.plan, only=None, approval=None)
        done = (task.plan.only for task in self.rollout.tasks if task.state == "success")
        finished = [only for only in done if only is not None]
        state = RolloutState(self.rollout.run_began)
        act = decide_group_rollback(plan, self.seen, state, self.now, "", finished)
        if isinstance(act, Complete):
            return "The rollback task confirms that the flag is lowered already."
        if isinstance(act, RollBack) and act.to is not None:
            return f"The rollback task lowers the flag from {self.seen.exposure} to {act.to} and reads that back."
        why = act.why_left if isinstance(act, RollBack) else act.why
        return f"The rollback task leaves the flag as it is: {why}. {self._keeps}."


def _stage(plan: RolloutPlan, percentage: int) -> RolloutPlan:
    """The plan of the task of one stage."""
    return replace(plan, only=percentage, approval=None)


def _soak(view: Evaluation) -> str:
    """Return the soak that still counts; empty if none does."""
    if not view.is_soaking:
        return ""
    began, ends = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (view.began, view.soak_ends))
    return f": the soak counts from {began}, when the percentage was set, and ends at {ends}"
