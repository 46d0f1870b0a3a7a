"""Preview the next step of a plan from the present flag in Amplitude. Read only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.plans._models import PlanFile
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    RequestApproval,
    RunGuardrails,
    SetStage,
    Wait,
)
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import FlagSnapshot
from airflow_provider_ampexp.rollout._state import RolloutState

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


@dataclass(frozen=True)
class DryRun:
    """The state of a flag, and the next action of a rollout that begins now.

    :param would_change: true if the action writes
    """

    stands: str
    next: str
    would_change: bool


def outlook(plan: PlanFile, client: ManagementClient, project_id: str | None) -> DryRun:
    """Read the flag, and decide with the rules of the rollout. Takes 2 requests.

    :param project_id: the project of a key, if the file names none
    :raises ManagementApiError: when a call to Amplitude fails
    :raises EnsureError: when the flag is missing and the file does not create it, or it shows no percentage
    :raises InvalidInputError: when the window never opens again
    """
    target = plan.target(project_id)
    try:
        flag = ManagedFlag.find(client, target, plan.segment, plan.catch_all)
    except TargetNotFoundError as error:
        if not plan.creates(error):
            raise
        return DryRun(f"{target} does not exist", f"create the {target.noun}, disabled and at 0 %", True)
    rollout, state, now = replace(plan.rollout_plan(), preview=None), RolloutState(), flag.now
    since = flag.since(state.after_observation(rollout, flag.seen, now))
    view = Evaluation(rollout, flag.seen, state, now)
    comes = view.next_stage.percentage if view.next_stage else None
    act = _next_act(plan, view, comes)
    what = f"{flag.target.kind.removesuffix('s')} {flag.config.get('key')!r}"
    if plan.segment is not None:
        what = f"segment {plan.segment!r} of {what}"
    return DryRun(
        f"{what} is at {flag.seen.exposure} since {format_timestamp(since)} ({_span(now - since)})",
        _told(act, plan, flag.seen, comes),
        isinstance(act, SetStage),
    )


def _next_act(plan: PlanFile, view: Evaluation, comes: int | None) -> Action:
    """Return the next action. A necessary approval comes before the window."""
    rollout, seen, now = view.plan, view.seen, view.now
    act = decide(rollout, seen, RolloutState(), now)
    if comes in plan.approve_before and comes is not None and isinstance(act, SetStage | Wait) and not view.is_soaking:
        return decide(replace(rollout, approval=ApprovalPolicy(comes)), seen, RolloutState(), now)
    return act


def _told(act: Action, plan: PlanFile, seen: FlagSnapshot, comes: int | None) -> str:
    if isinstance(act, SetStage):
        enabled = "" if seen.exposure.enabled else " and enabled"
        return f"set from {seen.exposure} to {act.stage.percentage} %{enabled} now"
    if isinstance(act, RunGuardrails):
        names = ", ".join(guardrail.made.name for guardrail in plan.guardrails)
        then = f"; if they pass, the next stage is {comes} %" if comes is not None else ""
        return f"run the guardrails now ({names}): {act.why}{then}"
    if isinstance(act, RequestApproval):
        who = ", ".join(plan.approvers) or "every user who can edit the run"
        return f"request an approval now ({who}): {act.why}"
    if isinstance(act, Complete):
        return f"nothing, the rollout is complete: {act.why}"
    if isinstance(act, Abort):
        return f"stop without a write: {act.why}"
    return f"wait: {act.why}"


def _span(length: timedelta) -> str:
    minutes = max(0, int(length.total_seconds())) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2]) or "less than a minute"
