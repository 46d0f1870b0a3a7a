"""The stage, the phase and the next step of a rollout. Pure: no I/O, no clock, no Airflow.

``decide`` returns the next step, by the same rules as in the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import Abort, Action, RollBack, RunGuardrails, Wait
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import FlagSnapshot, VersionEntry, version_of_exposure
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, GuardrailDecision, RecordKind, Verdict
from airflow_provider_ampexp.ui._phase import Reason
from airflow_provider_ampexp.ui._rollout_tasks import Rollout

_OVERDUE_AFTER = timedelta(minutes=5)  # a trigger and a scheduler need some time
_NOT_CONFIRMED = "ROLLBACK NOT CONFIRMED"
_FAILING = (Verdict.FAIL, Verdict.ERROR)


@dataclass(frozen=True)
class RolloutStatus:
    """The state of a rollout.

    :param reason: the reason of its phase; ``reason.phase`` is the phase
    :param why: the reason in a sentence
    :param since: the start of its phase; ``None`` if it is not known
    :param next: the next percentage; ``None`` after the last stage
    :param when: the earliest time of the next percentage; ``None`` if it is not known
    :param stage: the place of the present stage, from 1; 0 before the first; ``None`` between two stages
    :param stands_since: since when the flag has its percentage
    :param next_check: when the guardrails run next; ``None`` if they do not run, or the time is not known
    """

    reason: Reason
    why: str = ""
    since: datetime | None = None
    next: int | None = None
    when: datetime | None = None
    stage: int | None = None
    stands_since: datetime | None = None
    next_check: datetime | None = None


def status_of(rollout: Rollout, seen: FlagSnapshot | None, now: datetime) -> RolloutStatus:
    """Return what the page shows of a rollout.

    :param seen: the flag; ``None`` if it is not known. Without its history, the last observation of the task replaces
        the history.
    :param now: the service's clock
    """
    plan, rollout_state = rollout.plan, rollout.task.rollout_state
    if rollout.is_over:
        return _ended(rollout, seen)
    if seen is None:
        return RolloutStatus(Reason.UNREADABLE, "Amplitude does not show the percentage of this rollout")
    seen = seen if seen.history else _with_last_exposure(seen, rollout_state)
    following = plan.next_above(seen.exposure.reached)
    here = replace(_place(plan, seen), next=following.percentage if following else None)
    stuck = _stuck(rollout, now)
    if stuck is not None:
        return replace(here, reason=stuck.reason, why=stuck.why, since=stuck.since)
    if rollout_state is None:
        why = "its task runs" if rollout.task.state == "running" else f"its task is {_in_words(rollout.task.state)}"
        return replace(here, why=why, since=here.stands_since or rollout.task.began)
    view = Evaluation(plan, seen, rollout_state, now)
    act = decide(plan, seen, rollout_state, now)
    reason = _reason(act, view)
    here = replace(here, reason=reason, why=_why(reason, view, act), since=_since(reason, view, here.stands_since))
    return replace(here, when=_when(reason, view), next_check=view.check_is_due if view.is_checked else None)


def _place(plan: RolloutPlan, seen: FlagSnapshot) -> RolloutStatus:
    """Return the present stage and its start."""
    began = version_of_exposure(seen)
    at = began.at if began else None
    exposure = seen.exposure
    if not exposure.enabled or exposure.percentage < plan.all_stages[0].percentage:
        return RolloutStatus(Reason.WORKING, stage=0, stands_since=at)
    places = [place for place, stage in enumerate(plan.all_stages, 1) if stage.percentage == exposure.percentage]
    return RolloutStatus(Reason.WORKING, stage=places[0] if places else None, stands_since=at)


def _ended(rollout: Rollout, seen: FlagSnapshot | None) -> RolloutStatus:
    """Return the end by the record, or by the state of its task if the record does not show it."""
    reason, why = _end(rollout, seen)
    here = _place(rollout.plan, seen) if seen else RolloutStatus(reason)
    return replace(here, reason=reason, why=why, since=rollout.ended)


def _end(rollout: Rollout, seen: FlagSnapshot | None) -> tuple[Reason, str]:
    ending, task = rollout.ending, rollout.task
    why = str(ending.get("why") or "")
    what, cause = ending.get("what"), ending.get("cause")
    if what == RecordKind.ROLLBACK and (ways := ending.get("still_through")):
        return Reason.STILL_EXPOSED, f"{why}; users still get the feature through {', and '.join(map(str, ways))}"
    if what in (RecordKind.ROLLBACK, RecordKind.CONFIRMED) or (
        what == RecordKind.STOP and cause == AbortCause.ROLLED_BACK
    ):
        return Reason.ROLLED_BACK, why
    if what == RecordKind.NOT_LOWERED:
        return Reason.NOT_LOWERED, why
    if what == RecordKind.ERROR and _NOT_CONFIRMED in why:
        return Reason.UNCONFIRMED, why
    if ending or task.state != "success":
        return Reason.STOPPED, why or f"its task ended with the state {_in_words(task.state)}; its log has the reason"
    last, reached = rollout.plan.all_stages[-1].percentage, rollout.reached
    if reached is not None and reached < last and seen is not None and seen.exposure.percentage < last:
        return Reason.STOPPED, f"its task ended with success at {reached:g} %, before the last stage"
    return Reason.DONE, f"the last stage, {last} %, is reached"


def _stuck(rollout: Rollout, now: datetime) -> RolloutStatus | None:
    """Return why the rollout does not continue, independent of its plan; ``None`` if it continues."""
    task = rollout.task
    if task.is_paused and task.state != "running":
        return RolloutStatus(
            Reason.PAUSED,
            "the DAG is paused: until a person unpauses it, no guardrail runs, and nothing is raised or rolled back. "
            "The percentage stays",
        )
    if task.state == "deferred" and not task.is_triggerer_alive:
        return RolloutStatus(
            Reason.TRIGGERER,
            "no triggerer of this Airflow is alive, so the task does not resume: no guardrail runs, and nothing is "
            "raised or rolled back. Start the triggerer",
        )
    if task.state == "deferred" and task.until is not None and now > task.until + _OVERDUE_AFTER:
        return RolloutStatus(
            Reason.OVERDUE,
            f"its task was due at {format_timestamp(task.until)} and has not been resumed. Check the triggerer and "
            "the scheduler",
            task.until,
        )
    if rollout.is_rolling_back:
        failed = ", ".join(task.task_id for task in rollout.tasks if task.has_failed)
        return RolloutStatus(Reason.ROLLING_BACK, f"failed: {failed}", task.ended)
    if task.state == "up_for_retry":
        why = (
            str(task.record[-1].get("why") or "")
            if task.record and task.record[-1].get("what") == RecordKind.ERROR
            else ""
        )
        return RolloutStatus(Reason.RETRYING, why or "its task failed; its log has the reason", task.ended)
    return None


def _with_last_exposure(seen: FlagSnapshot, rollout_state: RolloutState | None) -> FlagSnapshot:
    """Return the flag with a history of one entry, from the last observation of the task."""
    if rollout_state is None or rollout_state.last_exposure is None:
        return seen
    raised = [line for line in rollout_state.record if line.get("what") == RecordKind.RAISE]
    at = datetime.fromisoformat(raised[-1]["at"]) if raised else rollout_state.first_seen_at
    return replace(
        seen,
        history=(
            VersionEntry(rollout_state.version or 0, at, rollout_state.actor or "unknown", rollout_state.last_exposure),
        ),
    )


def _reason(act: Action, view: Evaluation) -> Reason:
    if isinstance(act, Abort):
        return Reason.STOPPING
    if isinstance(act, RollBack):
        return Reason.ROLLING_BACK
    if not isinstance(act, Wait | RunGuardrails):
        return Reason.WORKING
    # A reason that needs a person comes first. Then the order is the order of the rules.
    if view.is_held:
        return Reason.TAG
    if view.decision == GuardrailDecision.HOLD:
        return Reason.GUARDRAIL
    if any(_is_failing(status.verdict, status.decision, status.effect) for status in view.state.statuses):
        return Reason.FAILING
    if view.is_soaking:
        return Reason.SOAKING
    if isinstance(act, RunGuardrails) or not view.guardrails_passed:
        return Reason.CHECKING
    return Reason.WINDOW if view.is_answered else Reason.APPROVAL


def _why(reason: Reason, view: Evaluation, act: Action) -> str:
    if reason is Reason.TAG:
        return f"the flag has the tag {view.plan.hold_tag!r}"
    if reason is Reason.SOAKING:
        until = f"until {view.soak_ends:%Y-%m-%d %H:%M} UTC"
        return f"{view.seen.exposure} soaks for {format_duration(view.soak)}, {until}"
    return view.said if reason in (Reason.GUARDRAIL, Reason.FAILING) else act.why


def _is_failing(verdict: object, decision: object, effect: object) -> bool:
    """Return whether a guardrail counts towards its limit. An inconclusive result, and one to wait, do not count."""
    return verdict in _FAILING and decision == GuardrailDecision.WAIT and effect != "wait"


def _since(reason: Reason, view: Evaluation, stands_since: datetime | None) -> datetime | None:
    if reason is Reason.TAG:
        return _tagged_since(view)
    if reason is Reason.GUARDRAIL:
        return view.state.held_since
    if reason is Reason.FAILING:
        return _failing_since(view.state.record)
    return view.state.asked_at if reason is Reason.APPROVAL else stands_since


def _tagged_since(view: Evaluation) -> datetime | None:
    """Return since when the flag has the tag; ``None`` if the history does not show it, or was not read."""
    tagged = list(takewhile(lambda entry: has_tag(entry.tags, view.plan.hold_tag), view.seen.history))
    return tagged[-1].at if tagged else None


def _failing_since(record: Iterable[Mapping[str, Any]]) -> datetime | None:
    """Return the first of the newest consecutive checks without a pass, of the guardrail that failed last."""
    checks = [line for line in record if line.get("what") == RecordKind.CHECK]
    name = next((line.get("name") for line in reversed(checks) if line.get("verdict") in _FAILING), None)
    of_guardrail = [line for line in reversed(checks) if line.get("name") == name]
    without_a_pass = list(takewhile(lambda line: line.get("verdict") != Verdict.PASS, of_guardrail))
    return datetime.fromisoformat(str(without_a_pass[-1]["at"])) if without_a_pass else None


def _when(reason: Reason, view: Evaluation) -> datetime | None:
    """Return the earliest time of the next stage; ``None`` while a guardrail or a person decides."""
    if reason is Reason.SOAKING:
        return _in_window(view.plan, view.soak_ends)
    return _in_window(view.plan, view.now) if reason is Reason.WINDOW else None


def _in_window(plan: RolloutPlan, at: datetime) -> datetime | None:
    try:
        return plan.window.next_open(at) if plan.window else at
    except InvalidInputError:
        return None


def _in_words(state: str) -> str:
    return {"none": "to start", "success": "done, and the next task is to start"}.get(state, state.replace("_", " "))
