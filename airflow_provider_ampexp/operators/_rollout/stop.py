"""Stop a rollout before its last stage, and leave the flag as it is. No retry follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.operators._rollout.record import begin_file, push_record
from airflow_provider_ampexp.rollout._actions import Abort
from airflow_provider_ampexp.rollout._alert import AlertEvent
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, HeartbeatEnd, RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask

_CORRECT = "Correct this, then clear this task."
CONTINUE = "Clear this task to continue from there."
NEXT_STEP = {
    AbortCause.ARCHIVED: "Restore the flag in Amplitude, then start a new run.",
    AbortCause.DISABLED: "To continue, enable the flag in Amplitude, then start a new run.",
    AbortCause.DRIFT: "To continue from there, start a new run. After this run has ended, a clear of this task works "
    "only with if_changed_since='write'.",
    AbortCause.ROLLED_BACK: "Clear this task to start again.",
    AbortCause.UNKNOWN: f"Check the flag in Amplitude. {CONTINUE}",
    AbortCause.PREDECESSOR_NOT_SET: "Clear the task of that stage.",
    AbortCause.HELD: CONTINUE,
    AbortCause.STICKY: _CORRECT,
    AbortCause.DECIDED: _CORRECT,
    AbortCause.OTHERS: _CORRECT,
    AbortCause.COHORT: _CORRECT,
    AbortCause.REFUSED: _CORRECT,
}
"""The next step of a person after a stop, by its cause. A task with another cause is skipped, or failed to lower."""


def abort(task: RolloutTask, act: Abort, state: RolloutState) -> NoReturn:
    """Stop the rollout, and leave the flag as it is.

    :raises AirflowSkipException: without an approval
    :raises AirflowFailException: otherwise
    """
    flag = task.flag
    task.pending_rollback.finish()
    state = state.with_line(RecordKind.STOP, flag.now, {"cause": act.cause.value, "why": act.why})
    stopped = f"Rollout of {task.described} stopped and left the flag as it is, at {flag.seen.exposure}: {act.why}."
    begin_file(task, state)
    # An attempt that died after its rollback may have sent no alert.
    is_rollback = act.cause is AbortCause.ROLLED_BACK
    event: AlertEvent = "rollback" if is_rollback else "abort"
    send_alert(task, event, stopped, act.why, cause=act.cause, confirmed=is_rollback or None)
    task.end_heartbeat(HeartbeatEnd.ROLLED_BACK if is_rollback else HeartbeatEnd.STOPPED)
    push_record(task, state)
    if act.cause in (AbortCause.REJECTED, AbortCause.NO_ANSWER):
        raise AirflowSkipException(f"{stopped} The tasks after this one are skipped.")
    raise AirflowFailException(f"{stopped} {NEXT_STEP[act.cause]}")
