"""The rules about what a rollout refuses, or changes, before its first stage. Pure."""

from __future__ import annotations

from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    SwitchOffSticky,
)
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._vocabulary import AbortCause


def refuse_without_a_start(view: Evaluation) -> Action | None:
    """Refuse a rollout that could not roll back."""
    if not view.is_first_look or not view.rollback.is_unknown or view.next_stage is None:
        return None
    return Abort(
        AbortCause.UNKNOWN,
        f"rollback={view.plan.rollback!r} needs the exposure before this rollout, and the version history does not "
        "show it. Set rollback= to a percentage or to 'off'",
    )


def abort_when_decided_against(view: Evaluation) -> Action | None:
    if not view.seen.audience.is_decided_against or view.plan.decided == "ignore":
        return None
    return Abort(AbortCause.DECIDED, "the experiment was decided: rollback. Set decided='ignore' to roll it out anyway")


def abort_when_segments_cannot_be_sent_back(view: Evaluation) -> Action | None:
    """The service replaces the whole list of segments at each write."""
    if view.plan.segment is None or not (hidden := view.seen.audience.hidden_segments(view.plan.catch_all)):
        return None
    return Abort(
        AbortCause.COHORT,
        f"segment {', '.join(hidden)} may be for a cohort. The Management API does not show such a condition, and "
        "without it the segment would capture every user. If it has none on purpose, set catch_all= to its name",
    )


def abort_when_predecessor_not_set(view: Evaluation) -> Action | None:
    """Where stages are tasks of their own, a stage is never set before its predecessor."""
    before = view.stage_before
    if view.plan.only is None or before is None or view.percentage >= before.percentage:
        return None
    return Abort(
        AbortCause.PREDECESSOR_NOT_SET,
        f"stage {before.percentage} % is not set, and it must be set before stage {view.plan.only} %",
    )


def abort_when_enabling_lets_others_in(view: Evaluation) -> Action | None:
    """The first stage enables a disabled flag, and with it all its other percentages."""
    audience = view.seen.audience
    if view.seen.exposure.enabled:
        return None
    if unknown := audience.unknown_others():
        return Abort(
            AbortCause.OTHERS,
            "the flag is disabled, and enabling it for the first stage may also give it to users outside of this "
            f"rollout: Amplitude does not show {', and '.join(unknown)}. Check the flag in Amplitude, or enable the "
            "flag first",
        )
    if not (others := audience.others(view.plan.catch_all)):
        return None
    return Abort(
        AbortCause.OTHERS,
        "the flag is disabled, and enabling it for the first stage would also give it to users outside of this "
        f"rollout: {', and '.join(others)}. Set those percentages to 0, or enable the flag first",
    )


def switch_off_sticky_bucketing(view: Evaluation) -> Action | None:
    if not (view.is_sticky and view.is_first_look and view.plan.sticky == "switch_off"):
        return None
    return SwitchOffSticky("with sticky bucketing, a rollback takes the feature from nobody")


def abort_when_sticky(view: Evaluation) -> Action | None:
    if not view.is_sticky:
        return None
    return Abort(
        AbortCause.STICKY,
        "sticky bucketing is on: users keep their variant, so a lower percentage takes the feature from nobody. Set "
        "rollback='off' (or 'hold'), or set sticky='switch_off'",
    )
