"""The rule of a rollout: from the observed flag to the next action.

``decide`` is a pure function. It asks its rules in order, and the first rule that returns an action decides. The loop
carries the action out, observes the flag again and asks again. The rollback task of a group runs after the loops of its
stages have ended, and asks ``decide_group_rollback`` in ``_group_rollback.py``. Nothing else moves a rollout.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_ampexp.rollout import _change_rules as change_rules
from airflow_provider_ampexp.rollout import _start_rules as start_rules
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    Preflight,
    RequestApproval,
    RollBack,
    RunGuardrails,
    SetStage,
    Wait,
)
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import FlagSnapshot
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, Decision

# A wait for a person has no end of its own; the flag is watched meanwhile. This is only how often one line is logged.
_MAX_WAIT = timedelta(hours=12)


def decide(plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, now: datetime) -> Action:
    """Decide the next action.

    :param seen: the flag and its history, just read
    :param state: of the observation before. The caller continues with its ``after_observation``.
    :param now: the service's clock
    """
    view = Evaluation(plan, seen, state, now)
    for rule in _RULES:
        act = rule(view)
        if act is not None:
            return act
    raise AssertionError("the last rule always decides")


def audience_drift(plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, now: datetime) -> list[str]:
    """Name the changes of the audience since the last look, for the log of a rollout that adopts them."""
    return Evaluation(plan, seen, state, now).audience_drift


def _abort_when_archived(view: Evaluation) -> Action | None:
    if not view.seen.archived:
        return None
    return Abort(AbortCause.ARCHIVED, "the flag is archived, so that it reaches nobody")


def _abort_when_disabled(view: Evaluation) -> Action | None:
    if view.seen.position.enabled or view.plan.enable:
        return None
    return Abort(AbortCause.DISABLED, "the flag is disabled, and this rollout is told not to enable it")


def _finish_a_rollback(view: Evaluation) -> Action | None:
    """An attempt decided on it and died. What the guardrails say by now does not matter."""
    return roll_back_action(view, view.state.rollback_reason) if view.state.rollback_reason else None


def _roll_back_when_failed(view: Evaluation) -> Action | None:
    """A fail counts also where somebody moved the flag during the check and the plan adopts that."""
    decision, why = aggregate(view.last_state.statuses)
    return roll_back_action(view, why) if decision == Decision.ROLL_BACK else None


def _check_first(view: Evaluation) -> Action | None:
    if not view.is_checked_first:
        return None
    if view.is_first_look:
        return RunGuardrails("an automatic retry asks the guardrails before it goes on")
    return RunGuardrails(
        "another attempt of this task may have set this stage; the guardrails are asked before that counts"
    )


def _end_when_not_approved(view: Evaluation) -> Action | None:
    approval, response, due = view.plan.approval, view.state.response, view.answer_is_due
    if approval is None:
        return None
    if response is not None and not response.approved:
        cause, then, why = AbortCause.REJECTED, approval.on_reject, f"{response.by} rejected {approval.before} %"
    elif response is None and due is not None and view.now >= due:
        cause, then = AbortCause.NO_ANSWER, approval.on_no_answer
        why = f"nobody answered within {approval.timeout} whether to go to {approval.before} %"
    else:
        return None
    return roll_back_action(view, why) if then == "rollback" else Abort(cause, why)


def _done_when_approved(view: Evaluation) -> Action | None:
    if view.plan.approval is None:
        return None
    if view.percentage >= view.plan.approval.before:
        return Complete(f"{view.plan.approval.before} % is reached already, and needs no approval any more")
    if view.state.response is None:
        return None
    return Complete(f"{view.state.response.by} approved {view.plan.approval.before} %")


def _done_when_beyond_the_last_stage(view: Evaluation) -> Action | None:
    if view.plan.approval is not None or view.next_stage is not None or view.is_own_stage:
        return None
    return Complete("it is beyond the last stage" if view.plan.only is None else "it is beyond this stage")


def _check_when_due(view: Evaluation) -> Action | None:
    if not view.is_checked or view.guardrails_passed or view.now < view.check_is_due:
        return None
    return RunGuardrails("a check is due during the soak" if view.is_soaking else "the stage has soaked")


def _end_when_hold_timed_out(view: Evaluation) -> Action | None:
    limit = view.plan.hold_limit
    if limit is None or not view.is_held_too_long:
        return None
    why = f"the guardrails have held it for {format_duration(limit)} ({view.said})"
    return roll_back_action(view, why) if view.plan.on_hold_timeout == "rollback" else Abort(AbortCause.HELD, why)


def _wait_while_soaking(view: Evaluation) -> Action | None:
    if not view.is_soaking:
        return None
    return Wait(_or_check(view, view.soak_ends), f"{_next(view)} not before {_utc(view.soak_ends)}: it is soaking")


def _wait_while_not_passed(view: Evaluation) -> Action | None:
    if view.guardrails_passed:
        return None
    return Wait(view.check_is_due, f"{_next(view)} not before the guardrails pass ({view.said}); asked again then")


def _ask_for_approval(view: Evaluation) -> Action | None:
    """Only now: nobody is asked to approve what has not soaked, or does not pass."""
    if view.is_answered or view.state.asked_at is not None:
        return None
    return RequestApproval(f"{_next(view)} and somebody has to approve it")


def _wait_while_not_answered(view: Evaluation) -> Action | None:
    approval = view.plan.approval
    if approval is None or view.is_answered:
        return None
    until = _or_check(view, view.now + _MAX_WAIT)
    due = view.answer_is_due
    return Wait(min(until, due) if due else until, f"{_next(view)} not before somebody approves it")


def _done_after_the_last_stage(view: Evaluation) -> Action | None:
    if view.next_stage is not None:
        return None
    return Complete("the last stage is reached, and has soaked if it had to")


def _preflight(view: Evaluation) -> Action | None:
    """Only where no check comes first, so that users would get the feature before a guardrail was ever asked."""
    if not view.state.preflight_owed or view.stage is not None:
        return None
    return Preflight(f"{_next(view)} but first the guardrails have to be able to answer")


def _wait_while_held(view: Evaluation) -> Action | None:
    if not view.is_held:
        return None
    why = f"{_next(view)} not while the flag has the tag {view.plan.hold_tag!r}: a person holds it"
    return Wait(_or_check(view, view.now + _MAX_WAIT), why, is_held=True)


def _wait_for_the_window(view: Evaluation) -> Action | None:
    window = view.plan.window
    if window is None or window.is_open(view.now):
        return None
    opens = window.next_open(view.now)
    return Wait(_or_check(view, opens), f"{_next(view)} not before the window opens, {window.shown(opens)}")


def _raise(view: Evaluation) -> Action | None:
    stage = view.next_stage
    assert stage is not None
    if view.stage is None:
        return SetStage(stage, f"the next stage is {stage.percentage} %")
    return SetStage(stage, f"to {stage.percentage} %, since it has soaked from {_utc(view.began)} on")


_RULES: tuple[Callable[[Evaluation], Action | None], ...] = (
    _abort_when_archived,
    change_rules.restore_overwritten_edit,
    change_rules.abort_on_ambiguous_set_stage,
    change_rules.abort_on_empty_version,
    change_rules.abort_on_unseen_change,
    change_rules.abort_when_already_rolled_back,
    change_rules.abort_on_external_change,
    _abort_when_disabled,
    _finish_a_rollback,
    _roll_back_when_failed,
    _end_when_not_approved,
    change_rules.abort_on_audience_drift,
    _done_when_approved,
    start_rules.refuse_without_a_start,
    _check_first,
    _done_when_beyond_the_last_stage,
    start_rules.abort_when_decided_against,
    start_rules.abort_when_segments_cannot_be_sent_back,
    start_rules.abort_when_predecessor_not_set,
    start_rules.abort_when_enabling_lets_others_in,
    start_rules.switch_off_sticky_bucketing,
    start_rules.abort_when_sticky,
    _check_when_due,
    _end_when_hold_timed_out,
    _wait_while_soaking,
    _wait_while_not_passed,
    _ask_for_approval,
    _wait_while_not_answered,
    _done_after_the_last_stage,
    _preflight,
    _wait_while_held,
    _wait_for_the_window,
    _raise,
)


def roll_back_action(view: Evaluation, why: str) -> RollBack:
    """Return the rollback to the plan's target, or the reason for which the flag is left as it is."""
    target = view.rollback_target
    return RollBack(target, why, "" if target else view.why_not_lowered)


def _or_check(view: Evaluation, until: datetime) -> datetime:
    """Guardrails are asked during every wait."""
    return min(until, view.check_is_due) if view.is_checked else until


def _next(view: Evaluation) -> str:
    approval, stage = view.plan.approval, view.next_stage
    after = approval.before if approval else stage.percentage if stage else None
    return "it ends here," if after is None else f"{after} % comes next,"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
