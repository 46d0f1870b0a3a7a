"""What is left to do for a rollout that failed, by the same rules as while it went on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from airflow_provider_ampexp.rollout._actions import Done, RollBack, Stop
from airflow_provider_ampexp.rollout._evaluation import View
from airflow_provider_ampexp.rollout._history import Seen, changes
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._state import Memory


def decide_aftermath(
    plan: RolloutPlan, seen: Seen, memory: Memory, now: datetime, why: str, finished: Collection[int] = ()
) -> RollBack | Done | Stop:
    """Decide what becomes of a flag whose rollout failed, was rejected, or was ended by hand.

    What a person changed since stays as it is, and what this run never raised is not lowered.

    :param memory: with ``run_began``
    :param why: what failed
    :param finished: the stages whose tasks ended well. A person may have ended their soak early.
    :returns: ``Done`` where this run has taken it down already, ``Stop`` where it is left as it is
    """
    view = View(plan, seen, memory, now, finished)
    first = view.first_own_step
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
    if plan.on_drift == "stop" and view.audience_drift:
        return Stop("drift", f"the audience was changed meanwhile: {'; '.join(view.audience_drift)}")
    if view.start_is_unknown:
        return Stop("unknown", view.why_not_lowered)
    target = view.rollback_target
    return RollBack(target, why, "" if target else view.why_not_lowered)
