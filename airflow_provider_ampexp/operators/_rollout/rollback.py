"""Roll a flag back, and confirm that by reading. Each error reports a rollback that is not confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_ampexp.ensure._cohorts import named_cohorts
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, is_retryable
from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.operators._rollout.exposure_warnings import read_included_cohorts
from airflow_provider_ampexp.operators._rollout.record import begin_file, push_record, record_on_error, take_notes
from airflow_provider_ampexp.operators._rollout.stop import CONTINUE
from airflow_provider_ampexp.rollout._actions import RollBack
from airflow_provider_ampexp.rollout._history import Exposure, version_of_exposure
from airflow_provider_ampexp.rollout._record import RecordLine, exposure_fields, fields_before
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, HeartbeatEnd, RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag


def roll_back(task: RolloutTask, act: RollBack, state: RolloutState) -> NoReturn:
    """Roll the flag back, and confirm that by reading; or leave it as it is, if the plan demands that.

    :raises AirflowFailException: after that
    :raises AmplitudeTaskError: when the rollback is not confirmed, and a retry may finish it
    """
    flag, described = task.flag, task.described
    before, since = flag.seen.exposure, flag.since(state)
    if act.to is None:
        task.pending_rollback.finish()
        state = state.with_line(RecordKind.NOT_LOWERED, flag.now, {"stage": before.percentage, "why": act.why})
        who, after = ", where nobody gets it", CONTINUE
        if before.effective_percentage:
            who = ": users still get it"
            after = f"No guardrail runs now. Disable the flag in Amplitude if users must not keep it. {CONTINUE}"
        left = (
            f"Rollout of {described} failed: {act.why}. It was left at {before}{who}. "
            f"No rollback: {act.why_left}. {after}"
        )
        begin_file(task, state)
        send_alert(task, "abort", left, act.why, cause=AbortCause.NOT_LOWERED)
        task.end_heartbeat(HeartbeatEnd.STOPPED)
        push_record(task, state)
        raise AirflowFailException(left)
    with record_on_error(task, state):
        write_rollback(task, act.to, act.why)
    line = rollback_line(flag, before, since, act.why)
    state = take_notes(task, state).with_line(RecordKind.ROLLBACK, flag.now, line)
    done = f"Rolled back {described} from {before} to {flag.seen.exposure}, {describe_confirmation(flag)}: {act.why}."
    begin_file(task, state)
    # Before the record is stored in Airflow, which takes minutes while its API server is down.
    send_alert(task, "rollback", done, act.why, before=before, to=flag.seen.exposure, confirmed=True)
    task.end_heartbeat(HeartbeatEnd.ROLLED_BACK)
    push_record(task, state)
    raise AirflowFailException(f"{done} No retry follows. Clear this task to start again.")


def write_rollback(task: RolloutTask, to: Exposure, why: str) -> None:
    """Roll the flag back to ``to``, and confirm that by reading.

    It has the arguments and errors of :func:`rollback_guard`.
    """
    with rollback_guard(task, to, why):
        task.flag.roll_back_to(to)
    task.pending_rollback.finish()
    if task.flag.seen.exposure.enabled:
        read_included_cohorts(task)


@contextmanager
def rollback_guard(task: RolloutTask, to: Exposure | None, why: str) -> Iterator[None]:
    """Report every error, and an interruption, as a rollback that is not confirmed.

    :param to: the target; ``None`` to leave the flag as it is
    :param why: the reason for the rollback. The next attempt finds it, if this attempt dies.
    :raises AmplitudeTaskError: when the rollback is not confirmed, and a retry may finish it
    :raises AirflowFailException: when the rollback is not confirmed, and a person must act
    """
    before = task.flag.seen.exposure
    wanted = f"from {before} to {to}" if to else f"left at {before}"
    words = (
        f"ROLLBACK NOT CONFIRMED for {task.described} ({wanted}). USERS PROBABLY STILL GET IT at {before}. "
        f"Check the flag in Amplitude now. Reason for the rollback: {why}."
    )
    task.pending_rollback.begin(task.context, why)
    try:
        with task.flag.set_interruption_message(words):
            yield
    except BaseException as error:
        task.pending_rollback.finish()
        if isinstance(error, Exception | AirflowTaskTimeout):
            send_alert(task, "rollback" if to else "abort", words, why, before=before, to=to, confirmed=False)
        if not isinstance(error, Exception):
            raise  # the interruption of the task, which logs the message
        kind = AmplitudeTaskError if is_retryable(error) else AirflowFailException
        raise kind(f"{words} Cause: {error}") from None


def describe_confirmation(flag: ManagedFlag) -> str:
    """Describe the confirmed rollback, and through which ways users still get the feature."""
    ways = ways_in_line(flag).get("still_through")
    if not ways:
        return "and confirmed it by reading"
    return f"and read that back; but USERS STILL GET IT through {', and '.join(ways)}"


def ways_in_line(flag: ManagedFlag) -> RecordLine:
    """Return the other ways through which users get the feature, for the record; empty if there is none."""
    cohorts = [named_cohorts(flag.cohorts)] if flag.cohorts else []
    ways = [*flag.seen.audience.ways_in(flag.catch_all), *cohorts] if flag.seen.exposure.enabled else []
    return {"still_through": ways} if ways else {}


def rollback_line(flag: ManagedFlag, before: Exposure, since_when: datetime, why: str) -> RecordLine:
    """Return the line of the record for a rollback that was read back."""
    after = flag.seen.exposure  # below the target, if another actor lowered it further at the same time
    return {
        **fields_before(before, since_when),
        "to": after.percentage,
        **exposure_fields(after, version_of_exposure(flag.seen)),
        "why": why,
        **ways_in_line(flag),
    }
