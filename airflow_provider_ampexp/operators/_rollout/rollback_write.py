"""The write of a rollback, which is read back. Each error reports a rollback that is not confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_ampexp.ensure._cohorts import named_cohorts
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, is_retryable
from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.operators._rollout.exposure_warnings import find_cohorts
from airflow_provider_ampexp.rollout import Exposure
from airflow_provider_ampexp.rollout._history import since
from airflow_provider_ampexp.rollout._record import RecordLine, exposure_fields, fields_before

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag


def write_rollback(task: RolloutTask, to: Exposure, why: str) -> None:
    """Roll the flag back to ``to``, and confirm that by reading.

    It has the arguments and errors of :func:`rollback_guard`.
    """
    with rollback_guard(task, to, why):
        task.flag.roll_back_to(to)
    task.failure_note.finish()
    if task.flag.seen.position.enabled:
        find_cohorts(task)


@contextmanager
def rollback_guard(task: RolloutTask, to: Exposure | None, why: str) -> Iterator[None]:
    """Report every error, and an interruption, as a rollback that is not confirmed.

    :param to: the target; ``None`` to leave the flag as it is
    :param why: the reason for the rollback. The next attempt finds it, if this attempt dies.
    :raises AmplitudeTaskError: when the rollback is not confirmed, and a retry may finish it
    :raises AirflowFailException: when the rollback is not confirmed, and a person must act
    """
    before = task.flag.seen.position
    wanted = f"from {before} to {to}" if to else f"left at {before}"
    words = (
        f"ROLLBACK NOT CONFIRMED for {task.described} ({wanted}). USERS PROBABLY STILL GET IT at {before}. "
        f"Check the flag in Amplitude now. Reason for the rollback: {why}."
    )
    task.failure_note.begin(task.context, why)
    try:
        with task.flag.last_words(words):
            yield
    except BaseException as error:
        task.failure_note.finish()
        if isinstance(error, Exception | AirflowTaskTimeout):
            send_alert(task, "rollback" if to else "abort", words, why, before=before, to=to, confirmed=False)
        if not isinstance(error, Exception):
            raise  # the interruption of the task, which logs the last words
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
    ways = [*flag.seen.audience.ways_in(flag.catch_all), *cohorts] if flag.seen.position.enabled else []
    return {"still_through": ways} if ways else {}


def rollback_line(flag: ManagedFlag, before: Exposure, since_when: datetime, why: str) -> RecordLine:
    """Return the line of the record for a rollback that was read back."""
    after = flag.seen.position  # below the target, if another actor lowered it further at the same time
    return {
        **fields_before(before, since_when),
        "to": after.percentage,
        **exposure_fields(after, since(flag.seen)),
        "why": why,
        **ways_in_line(flag),
    }
