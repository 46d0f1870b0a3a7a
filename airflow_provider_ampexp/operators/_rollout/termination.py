"""How a rollout ends before its last stage: it stops where it is, or rolls back. No retry follows."""

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


def abort(task: RolloutTask, act: Abort, state: RolloutState) -> NoReturn:
    """Leave the flag as it is.

    :raises AirflowSkipException: where a person did not approve
    :raises AirflowFailException: otherwise
    """
    flag = task.flag
    task.failure_note.finish()
    state = state.with_line(RecordKind.STOP, flag.now, {"cause": act.cause.value, "why": act.why})
    stopped = f"The rollout of {task.described} has stopped and left the flag as it is, at {flag.seen.position}"
    begin_file(task, state)
    # An attempt that died after its rollback may have told nobody.
    is_rollback = act.cause is AbortCause.ROLLED_BACK
    event: AlertEvent = "rollback" if is_rollback else "abort"
    send_alert(task, event, f"{stopped}: {act.why}.", act.why, cause=act.cause.value, confirmed=is_rollback or None)
    push_record(task, state)
    if act.cause in (AbortCause.REJECTED, AbortCause.NO_ANSWER):
        raise AirflowSkipException(f"{stopped}: {act.why}. What comes after this task is skipped.")
    raise AirflowFailException(f"{stopped}: {act.why}. Clear this task to begin again from there.")


def roll_back(task: RolloutTask, act: RollBack, state: RolloutState) -> NoReturn:
    """Take the flag back, and confirm it by reading; or leave it, where the plan says so.

    :raises AirflowFailException: when that is done
    :raises AmplitudeTaskError: when it is not confirmed, and a retry may finish it
    """
    flag, described = task.flag, task.described
    before, since = flag.seen.position, flag.since(state)
    if act.to is None:
        task.failure_note.finish()
        state = state.with_line(RecordKind.HOLD, flag.now, {"stage": before.percentage, "why": act.why})
        who = ": users still get it" if before.exposure else ", where nobody gets it"
        left = (
            f"The rollout of {described} has failed: {act.why}. It was left at {before}{who}. No rollback: {act.kept}."
        )
        begin_file(task, state)
        send_alert(task, "abort", left, act.why, cause=AbortCause.NOT_LOWERED.value)
        push_record(task, state)
        raise AirflowFailException(left)
    with record_on_error(task, state):
        write_rollback(task, act.to, act.why)
    line = rollback_line(flag, before, since, act.why)
    state = take_notes(task, state).with_line(RecordKind.ROLLBACK, flag.now, line)
    done = f"Rolled back {described} from {before} to {flag.seen.position}, {describe_confirmation(flag)}: {act.why}."
    begin_file(task, state)
    # Before the record goes to Airflow, which takes minutes when its API server is away.
    send_alert(task, "rollback", done, act.why, before=before, to=flag.seen.position, confirmed=True)
    push_record(task, state)
    raise AirflowFailException(f"{done} No retry follows; clear this task to begin again.")
