"""What is left to do for a rollout that failed, by the same rules as while it went on."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_ampexp.rollout.acts import Done, RollBack, Stop
from airflow_provider_ampexp.rollout.history import Seen, changes
from airflow_provider_ampexp.rollout.memory import Memory, first_planned_raise
from airflow_provider_ampexp.rollout.plan import RolloutPlan
from airflow_provider_ampexp.rollout.view import View


def decide_aftermath(plan: RolloutPlan, seen: Seen, memory: Memory, now: datetime, why: str) -> RollBack | Done | Stop:
    """Decide what becomes of a flag whose rollout failed, was rejected, or was ended by hand.

    What a person changed since stays as it is, and what this run never raised is not lowered.

    :param memory: with ``run_began``
    :param why: what failed
    :returns: ``Done`` where this run has taken it down already, ``Stop`` where it is left as it is
    """
    view = View(plan, seen, memory, now)
    first = first_planned_raise(plan, seen, memory.run_began)
    if seen.archived:
        return Stop("archived", "it is archived, so that it reaches nobody")
    if first is None:
        return Stop("behind", "this run raised nothing")
    rolled_back = None
    for change in changes(seen.history, memory.run_began):
        if view.was_ours(change):
            rolled_back = None
        elif change.entry.by == first.entry.by and not change.raises:
            rolled_back = rolled_back or change
        elif not (change.raises and plan.on_drift == "adopt"):
            return Stop("drift", f"somebody changed it meanwhile, {change}")
    if rolled_back is not None:
        return Done(f"this run rolled it back already, {rolled_back}")
    return RollBack(view.rollback_target, why)
