"""The end of a rollout before its last stage: it stops, or rolls back. No retry follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.operators._rollout.record import begin_file, push_record, record_on_error, take_notes
from airflow_provider_ampexp.operators._rollout.rollback_write import (
    describe_confirmation,
    rollback_line,
    write_rollback,
)
from airflow_provider_ampexp.rollout import Abort, RollBack, RolloutState
from airflow_provider_ampexp.rollout._alert import AlertEvent
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask

_CORRECT = "Correct this, then clear this task."
_CONTINUE = "Clear this task to continue from there."
NEXT_STEP = {
    AbortCause.ARCHIVED: "Restore the flag in Amplitude, then start a new run.",
    AbortCause.DISABLED: "To continue, enable the flag in Amplitude, then start a new run.",
    AbortCause.DRIFT: "To continue from there, start a new run. After this run has ended, a clear of this task works "
    "only with if_changed_since='write'.",
    AbortCause.ROLLED_BACK: "Clear this task to start again.",
    AbortCause.UNKNOWN: f"Check the flag in Amplitude. {_CONTINUE}",
    AbortCause.BEHIND: "",  # the reason says it
    AbortCause.HELD: _CONTINUE,
    AbortCause.STICKY: _CORRECT,
    AbortCause.DECIDED: _CORRECT,
    AbortCause.OTHERS: _CORRECT,
    AbortCause.COHORT: _CORRECT,
    AbortCause.REFUSED: _CORRECT,
}
"""What a person does after a stop, by its cause. Causes of a skip are not here: nothing needs a person then."""


def abort(task: RolloutTask, act: Abort, state: RolloutState) -> NoReturn:
    """Stop the rollout, and leave the flag as it is.

    :raises AirflowSkipException: without an approval
    :raises AirflowFailException: otherwise
    """
    flag = task.flag
    task.failure_note.finish()
    state = state.with_line(RecordKind.STOP, flag.now, {"cause": act.cause.value, "why": act.why})
    stopped = f"Rollout of {task.described} stopped and left the flag as it is, at {flag.seen.position}: {act.why}."
    begin_file(task, state)
    # An attempt that died after its rollback may have sent no alert.
    is_rollback = act.cause is AbortCause.ROLLED_BACK
    event: AlertEvent = "rollback" if is_rollback else "abort"
    send_alert(task, event, stopped, act.why, cause=act.cause, confirmed=is_rollback or None)
    task.end_heartbeat("rolled back" if is_rollback else "stopped")
    push_record(task, state)
    if act.cause in (AbortCause.REJECTED, AbortCause.NO_ANSWER):
        raise AirflowSkipException(f"{stopped} The tasks after this one are skipped.")
    raise AirflowFailException(f"{stopped} {NEXT_STEP[act.cause]}".rstrip())


def roll_back(task: RolloutTask, act: RollBack, state: RolloutState) -> NoReturn:
    """Roll the flag back, and confirm that by reading; or leave it as it is, if the plan demands that.

    :raises AirflowFailException: after that
    :raises AmplitudeTaskError: when the rollback is not confirmed, and a retry may finish it
    """
    flag, described = task.flag, task.described
    before, since = flag.seen.position, flag.since(state)
    if act.to is None:
        task.failure_note.finish()
        state = state.with_line(RecordKind.HOLD, flag.now, {"stage": before.percentage, "why": act.why})
        who, after = ", where nobody gets it", _CONTINUE
        if before.exposure:
            who = ": users still get it"
            after = f"No guardrail runs now. Disable the flag in Amplitude if users must not keep it. {_CONTINUE}"
        left = (
            f"Rollout of {described} failed: {act.why}. It was left at {before}{who}. No rollback: {act.kept}. {after}"
        )
        begin_file(task, state)
        send_alert(task, "abort", left, act.why, cause=AbortCause.NOT_LOWERED)
        task.end_heartbeat("stopped")
        push_record(task, state)
        raise AirflowFailException(left)
    with record_on_error(task, state):
        write_rollback(task, act.to, act.why)
    line = rollback_line(flag, before, since, act.why)
    state = take_notes(task, state).with_line(RecordKind.ROLLBACK, flag.now, line)
    done = f"Rolled back {described} from {before} to {flag.seen.position}, {describe_confirmation(flag)}: {act.why}."
    begin_file(task, state)
    # Before the record is stored in Airflow, which takes minutes while its API server is down.
    send_alert(task, "rollback", done, act.why, before=before, to=flag.seen.position, confirmed=True)
    task.end_heartbeat("rolled back")
    push_record(task, state)
    raise AirflowFailException(f"{done} No retry follows. Clear this task to start again.")
