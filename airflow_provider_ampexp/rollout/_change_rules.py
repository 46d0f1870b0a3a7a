"""The rules about changes that another person, or another attempt of the task, made to the flag. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    RollBack,
)
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import ExposureChange, exposure_changes, made_since
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, GuardrailDecision


def restore_overwritten_edit(view: Evaluation) -> Action | None:
    """An earlier attempt overwrote a lower percentage with a raise, and died before it restored that."""
    if not view.is_first_look or view.state.run_began is None or view.overwritten_edit is None:
        return None
    theirs, _ = view.overwritten_edit
    if not _raised_before(view, theirs):
        return None
    why = f"the flag was lowered {theirs}; a raise of this rollout overwrote that, so the rollout restores it"
    return RollBack(theirs.after, why)


def abort_on_unseen_change(view: Evaluation) -> Action | None:
    """A new attempt raises nothing that its run has rolled back, and undoes no change of another actor."""
    if not view.is_first_look or view.state.run_began is None:
        return None
    for change in exposure_changes(view.seen.history, view.state.run_began):
        if view.is_own_or_earlier(change):
            continue
        if change.lowers:
            why = f" ({view.state.rollback_reason})" if view.state.rollback_reason else ""
            return Abort(
                AbortCause.ROLLED_BACK,
                f"since this run began, the flag was lowered {change}{why}; a retry does not undo that",
            )
        if change.raises and view.plan.on_drift == "stop":
            return Abort(
                AbortCause.DRIFT, f"since this run began, the flag was changed {change}{_with_own_key(view, [change])}"
            )
    return None


def abort_on_ambiguous_set_stage(view: Evaluation) -> Action | None:
    """A raise overwrote a lower percentage. A person may have raised, or this run did, unaware of it."""
    if (
        not view.is_first_look
        or not view.state.is_retry
        or view.state.run_began is None
        or view.overwritten_edit is None
    ):
        return None
    theirs, raised = view.overwritten_edit
    if _raised_before(view, theirs):
        return None
    return Abort(
        AbortCause.UNKNOWN,
        f"since this run began, the flag was lowered {theirs}, and then raised by {raised.entry.by}, beyond the "
        "next stage. It is not known whether a person wanted that, or this rollout overwrote the lower percentage",
    )


def abort_on_empty_version(view: Evaluation) -> Action | None:
    """A retry must know which change it would undo."""
    if not view.is_first_look or not view.state.is_retry or view.state.run_began is None:
        return None
    hidden = next((entry for entry in made_since(view.seen.history, view.state.run_began) if not entry.exposure), None)
    if hidden is None:
        return None
    return Abort(AbortCause.UNKNOWN, f"{hidden} shows no exposure, so it is not known what a retry would undo")


def abort_when_already_rolled_back(view: Evaluation) -> Action | None:
    """Another attempt of this task may live on after a crash. Its rollback is never adopted."""
    back = next(
        (move for move in view.external_changes if move.lowers and move.entry.by == view.last_state.actor), None
    )
    if view.is_first_look or back is None:
        return None
    return Abort(
        AbortCause.ROLLED_BACK, f"the flag was lowered {back}, by another attempt of this task or with its key"
    )


def abort_on_external_change(view: Evaluation) -> Action | None:
    if not view.has_external_change:
        return None
    who = ", then ".join(map(str, view.external_changes)) or f"to {view.seen.exposure}"
    why = f"the flag was changed {who}{_with_own_key(view, view.external_changes)}"
    if not all(exposure.enabled for exposure in (view.seen.exposure, *(move.after for move in view.external_changes))):
        return Abort(AbortCause.DISABLED, f"{why}{_failed_before(view)}")
    if view.plan.on_drift == "stop":
        return Abort(AbortCause.DRIFT, f"{why}{_failed_before(view)}")
    return None


def abort_on_audience_drift(view: Evaluation) -> Action | None:
    """This rule comes after the rollbacks: a lower percentage undoes no change of the audience."""
    if view.plan.on_drift != "stop" or not (drift := view.audience_drift):
        return None
    return Abort(AbortCause.DRIFT, f"the audience was changed during the rollout: {'; '.join(drift)}")


def _raised_before(view: Evaluation, theirs: ExposureChange) -> bool:
    """Whether this run raised the flag before the external change."""
    first = view.first_own_step
    return first is not None and first.entry.version < theirs.entry.version


def _with_own_key(view: Evaluation, external_changes: Iterable[ExposureChange]) -> str:
    """Return a hint for the search for the actor: many tasks share the name of a key."""
    if not any(view.shares_the_key(move) for move in external_changes):
        return ""
    return " (this connection's own key: another task or run with the same key did it)"


def _failed_before(view: Evaluation) -> str:
    """Return the failed checks of the exposure before, for the reason of the stop."""
    decision, why = aggregate(view.last_state.statuses)
    return f"; the guardrails had failed ({why})" if decision == GuardrailDecision.ROLL_BACK else ""
