"""What a plan would do next, as the flag stands now in Amplitude. It only reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_ampexp.plans._models import PlanFile
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import (
    Abort,
    Action,
    Complete,
    FlagSnapshot,
    RequestApproval,
    RolloutState,
    RunGuardrails,
    SetStage,
    Wait,
    decide,
)
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._evaluation import Evaluation

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


@dataclass(frozen=True)
class DryRun:
    """Where a flag stands, and the one next act of a rollout that would begin now.

    :param would_change: whether that act writes
    """

    stands: str
    next: str
    would_change: bool


def outlook(plan: PlanFile, client: ManagementClient, project_id: str | None) -> DryRun:
    """Look at the flag, and decide as the rollout itself does: 2 requests.

    :param project_id: where a key is looked up when the file does not say
    :raises ManagementApiError: when Amplitude does not answer as it should
    :raises EnsureError: when there is no such flag, or it does not show where it stands
    :raises InvalidInputError: when the window never opens again
    """
    flag = ManagedFlag.find(client, plan.target(project_id), plan.segment, plan.catch_all)
    rollout, memory, now = plan.rollout_plan(), RolloutState(), flag.now
    since = flag.since(memory.looked(rollout, flag.seen, now))
    view = Evaluation(rollout, flag.seen, memory, now)
    comes = view.next_stage.percentage if view.next_stage else None
    act = _next_act(plan, view, comes)
    what = f"{flag.target.kind.removesuffix('s')} {flag.config.get('key')!r}"
    if plan.segment is not None:
        what = f"segment {plan.segment!r} of {what}"
    return DryRun(
        f"{what} stands at {flag.seen.position} since {since:%Y-%m-%d %H:%M:%SZ} ({_span(now - since)})",
        _told(act, plan, flag.seen, comes),
        isinstance(act, SetStage),
    )


def _next_act(plan: PlanFile, view: Evaluation, comes: int | None) -> Action:
    """Where an approval comes between, it is what comes next: it is asked for before the window is."""
    rollout, seen, now = view.plan, view.seen, view.now
    act = decide(rollout, seen, RolloutState(), now)
    if comes in plan.approve_before and comes is not None and isinstance(act, SetStage | Wait) and not view.is_soaking:
        return decide(replace(rollout, approval=ApprovalPolicy(comes)), seen, RolloutState(), now)
    return act


def _told(act: Action, plan: PlanFile, seen: FlagSnapshot, comes: int | None) -> str:
    if isinstance(act, SetStage):
        enabled = "" if seen.position.enabled else " and enabled"
        return f"it would be set from {seen.position} to {act.stage.percentage} %{enabled} now"
    if isinstance(act, RunGuardrails):
        names = ", ".join(one.made.name for one in plan.guardrails)
        then = f"; if they pass, {comes} % comes next" if comes is not None else ""
        return f"the guardrails would be asked now ({names}): {act.why}{then}"
    if isinstance(act, RequestApproval):
        who = ", ".join(plan.approvers) or "anybody who may edit the run"
        return f"an approval would be asked for now ({who}): {act.why}"
    if isinstance(act, Complete):
        return f"nothing is left to do: {act.why}"
    if isinstance(act, Abort):
        return f"it would stop and write nothing: {act.why}"
    return f"nothing is written now: {act.why}"


def _span(length: timedelta) -> str:
    minutes = max(0, int(length.total_seconds())) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2]) or "less than a minute"
