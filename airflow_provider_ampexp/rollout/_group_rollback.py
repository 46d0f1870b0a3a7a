"""What the rollback task of a group decides, after the tasks of its stages have ended. Pure.

``decide`` cannot decide this: the failed task has no next stage, soak or check. The target of the rollback and the
rules about changes of other people are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from airflow_provider_ampexp.rollout._actions import Abort, Complete, RollBack
from airflow_provider_ampexp.rollout._decision import roll_back_action
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import FlagSnapshot, exposure_changes, made_since
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause


def decide_group_rollback(
    plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, now: datetime, why: str, finished: Collection[int] = ()
) -> RollBack | Complete | Abort:
    """Decide whether to roll back a flag after a task of the group failed, was rejected or was marked as failed.

    A change that a person made after the last stage stays. A flag that this run never raised is not lowered.

    :param state: with ``run_began``
    :param why: what failed
    :param finished: the stages whose tasks succeeded. A person may have ended a soak early by marking its task.
    :returns: ``Complete`` if this run has rolled back already, ``Abort`` to leave the flag as it is
    """
    view = Evaluation(plan, seen, state, now, finished)
    first = view.first_own_step
    if seen.archived:
        return Abort(AbortCause.ARCHIVED, "it is archived, so nobody gets it")
    if first is None:
        if seen.exposure.effective_percentage and _is_hidden(seen, state.run_began):
            return Abort(
                AbortCause.UNKNOWN, "the version history does not show the exposure, so it is not known who raised it"
            )
        return Abort(AbortCause.NOTHING_RAISED, "this run raised nothing")
    rolled_back = external = None
    for change in exposure_changes(seen.history, state.run_began):
        if view.is_own_or_earlier(change):
            # This run continued from the change of a person: the plan adopts it, or a person cleared the task.
            rolled_back = external = None
        elif change.entry.by == first.entry.by and not change.raises:
            rolled_back = rolled_back or change
        elif not (change.raises and plan.on_drift == "adopt"):
            external = external or change
    if external is not None:
        return Abort(AbortCause.DRIFT, f"another actor changed it {external}")
    if rolled_back is not None:
        return Complete(f"this run has already rolled it back {rolled_back}")
    if plan.on_drift == "stop" and view.audience_drift:
        return Abort(AbortCause.DRIFT, f"the audience was changed: {'; '.join(view.audience_drift)}")
    if view.rollback.is_unknown:
        return Abort(AbortCause.UNKNOWN, view.rollback.why_not_lowered)
    return roll_back_action(view, why)


def _is_hidden(seen: FlagSnapshot, began: datetime | None) -> bool:
    """Whether the history does not show what happened since the run began."""
    if began is None or not seen.history:
        return not seen.history
    return any(entry.exposure is None for entry in made_since(seen.history, began))
