"""The rule of a rollout: from the observed flag to the next action.

``decide`` is a pure function. It asks its rules in order, and the first rule that returns an action decides. The loop
carries the action out, observes the flag again and asks again. The rollback task of a group runs after the loops of its
stages have ended, and asks ``decide_group_rollback`` in ``_group_rollback.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.rollout import _change_rules as change_rules
from airflow_provider_ampexp.rollout import _start_rules as start_rules
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    Preflight,
    PreviewRaise,
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
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, GuardrailDecision

# A wait for a person has no end of its own. After this time the task wakes, logs and writes its heartbeat.
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
    """Name the changes of the audience since the last observation, for the log of a rollout that adopts them."""
    return Evaluation(plan, seen, state, now).audience_drift


def _abort_when_archived(view: Evaluation) -> Action | None:
    if not view.seen.archived:
        return None
    return Abort(AbortCause.ARCHIVED, "the flag is archived, so nobody gets it")


def _abort_when_disabled(view: Evaluation) -> Action | None:
    if view.seen.exposure.enabled or view.plan.enable:
        return None
    return Abort(AbortCause.DISABLED, "the flag is disabled, and enable=False")


def _finish_a_rollback(view: Evaluation) -> Action | None:
    """Continue the rollback of an attempt that died, also if the guardrails pass now."""
    return roll_back_action(view, view.state.rollback_reason) if view.state.rollback_reason else None


def _roll_back_when_failed(view: Evaluation) -> Action | None:
    """A failed check counts also if another actor changed the flag during the check, and the plan adopts that."""
    decision, why = aggregate(view.last_state.statuses)
    return roll_back_action(view, why) if decision == GuardrailDecision.ROLL_BACK else None


def _check_first(view: Evaluation) -> Action | None:
    if not view.is_checked_first:
        return None
    if view.is_first_look:
        return RunGuardrails("a retry runs the guardrails before it continues")
    return RunGuardrails("another attempt of this task may have set this stage, so the guardrails run first")


def _end_when_not_approved(view: Evaluation) -> Action | None:
    approval, response, due = view.plan.approval, view.state.response, view.answer_is_due
    if approval is None:
        return None
    if response is not None and not response.approved:
        cause, then, why = AbortCause.REJECTED, approval.on_reject, f"{response.by} rejected {approval.before} %"
    elif response is None and approval.timeout is not None and due is not None and view.now >= due:
        cause, then = AbortCause.NO_ANSWER, approval.on_no_answer
        why = f"no answer within {format_duration(approval.timeout)} to the request to approve {approval.before} %"
    else:
        return None
    return roll_back_action(view, why) if then == "rollback" else Abort(cause, why)


def _done_when_approved(view: Evaluation) -> Action | None:
    if view.plan.approval is None:
        return None
    if view.percentage >= view.plan.approval.before:
        return Complete(f"{view.plan.approval.before} % is reached, so it needs no approval")
    if view.state.response is None:
        return None
    return Complete(f"{view.state.response.by} approved {view.plan.approval.before} %")


def _done_when_beyond_the_last_stage(view: Evaluation) -> Action | None:
    if view.plan.approval is not None or view.next_stage is not None or view.is_own_stage:
        return None
    return Complete("the flag is beyond the last stage" if view.plan.only is None else "the flag is beyond this stage")


def _check_when_due(view: Evaluation) -> Action | None:
    if not view.is_checked or view.guardrails_passed or view.now < view.check_is_due:
        return None
    return RunGuardrails("a check is due during the soak" if view.is_soaking else "the soak is complete")


def _end_when_hold_timed_out(view: Evaluation) -> Action | None:
    limit = view.plan.hold_limit
    if limit is None or not view.is_held_too_long:
        return None
    why = f"the guardrails have held the rollout for {format_duration(limit)} ({view.said})"
    return roll_back_action(view, why) if view.plan.on_hold_timeout == "rollback" else Abort(AbortCause.HELD, why)


def _wait_while_soaking(view: Evaluation) -> Action | None:
    if not view.is_soaking:
        return None
    return Wait(_or_check(view, view.soak_ends), f"soaking until {format_timestamp(view.soak_ends)}; {_next(view)}")


def _wait_while_not_passed(view: Evaluation) -> Action | None:
    if view.guardrails_passed:
        return None
    results = f" ({view.said})" if view.said else ""
    return Wait(view.check_is_due, f"the guardrails have not passed yet{results}; {_next(view)}")


def _preview_before_approval(view: Evaluation) -> Action | None:
    """The request for an approval shows the preview."""
    if view.plan.approval is None or view.is_answered or view.state.asked_at is not None:
        return None
    return _previewed(view, view.plan.approval.before)


def _ask_for_approval(view: Evaluation) -> Action | None:
    """The request comes after the soak and after a check that passed."""
    if view.is_answered or view.state.asked_at is not None:
        return None
    return RequestApproval(f"{_next(view)} needs an approval")


def _wait_while_not_answered(view: Evaluation) -> Action | None:
    approval = view.plan.approval
    if approval is None or view.is_answered:
        return None
    until = _or_check(view, view.now + _MAX_WAIT)
    due = view.answer_is_due
    return Wait(min(until, due) if due else until, f"no answer to the request for approval yet; {_next(view)}")


def _done_after_the_last_stage(view: Evaluation) -> Action | None:
    if view.next_stage is not None:
        return None
    return Complete("the last stage is complete")


def _preflight(view: Evaluation) -> Action | None:
    """Only before the first raise: later, a check comes before each raise."""
    if not view.state.preflight_owed or view.stage is not None:
        return None
    return Preflight(f"each guardrail runs once before the first raise; {_next(view)}")


def _wait_while_held(view: Evaluation) -> Action | None:
    if not view.is_held:
        return None
    why = f"a person holds the rollout: the flag has the tag {view.plan.hold_tag!r}; {_next(view)}"
    return Wait(_or_check(view, view.now + _MAX_WAIT), why, is_held=True)


def _wait_for_the_window(view: Evaluation) -> Action | None:
    window = view.plan.window
    if window is None or window.is_open(view.now):
        return None
    opens = window.next_open(view.now)
    return Wait(_or_check(view, opens), f"the window opens {window.shown(opens)}; {_next(view)}")


def _preview_before_raise(view: Evaluation) -> Action | None:
    return _previewed(view, view.next_stage.percentage) if view.next_stage else None


def _raise(view: Evaluation) -> Action | None:
    stage = view.next_stage
    assert stage is not None
    if view.stage is None:
        return SetStage(stage, _next(view))
    return SetStage(stage, f"{_next(view)}; soaked since {format_timestamp(view.began)}")


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
    _preview_before_approval,
    _ask_for_approval,
    _wait_while_not_answered,
    _done_after_the_last_stage,
    _preflight,
    _wait_while_held,
    _wait_for_the_window,
    _preview_before_raise,
    _raise,
)


def roll_back_action(view: Evaluation, why: str) -> RollBack:
    """Return the rollback to the plan's target, or the reason for which the flag is left as it is."""
    target = view.rollback.exposure
    return RollBack(target, why, "" if target else view.rollback.why_not_lowered)


def _previewed(view: Evaluation, percentage: int) -> Action | None:
    """Return the preview of a raise, or the end of the rollout if the preview refuses it."""
    found = view.state.preview
    if view.plan.preview is None:
        return None
    if found is None or found.percentage != percentage:
        return PreviewRaise(percentage, _next(view))
    return Abort(AbortCause.REFUSED, f"the preview refuses {percentage} %: {found.refusal}") if found.refusal else None


def _or_check(view: Evaluation, until: datetime) -> datetime:
    """Return the earlier of the end of a wait and the next check: guardrails run during each wait."""
    return min(until, view.check_is_due) if view.is_checked else until


def _next(view: Evaluation) -> str:
    approval, stage = view.plan.approval, view.next_stage
    after = approval.before if approval else stage.percentage if stage else None
    return "last stage" if after is None else f"next stage {after} %"
