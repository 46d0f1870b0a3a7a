"""Carrying out a rollback: lower, read it back, and say loudly when that cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_ampexp.exceptions import AmplitudeTaskError, is_retryable
from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.rollout import Exposure
from airflow_provider_ampexp.rollout._history import since
from airflow_provider_ampexp.rollout._record import RecordLine, from_exposure, stands_at

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag


def write_rollback(task: RolloutTask, to: Exposure, why: str) -> None:
    """Take the flag down to ``to``, and confirm it by reading.

    Takes what :func:`rollback_guard` takes, and raises what that does.
    """
    with rollback_guard(task, to, why):
        task.flag.roll_back_to(to)
    task.failure_note.finish()


@contextmanager
def rollback_guard(task: RolloutTask, to: Exposure | None, why: str) -> Iterator[None]:
    """Report every error, and an interruption, as a rollback that is not confirmed.

    :param to: where it goes; ``None`` where the flag is to be left as it is
    :param why: what failed; a next attempt finds it, if this one dies on the way
    :raises AmplitudeTaskError: when it is not confirmed, for a reason that may pass
    :raises AirflowFailException: when it is not confirmed, and a person has to act
    """
    before = task.flag.seen.position
    wanted = f"was to go back from {before} to {to}" if to else f"was to be left at {before}"
    words = (
        f"ROLLBACK NOT CONFIRMED. The rollout of {task.described} has failed ({why}) and {wanted}. "
        f"As far as is known USERS STILL GET IT at {before}: look at it in Amplitude now."
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
            raise  # what ends the task: its last words are said above
        kind = AmplitudeTaskError if is_retryable(error) else AirflowFailException
        raise kind(f"{words} {error}") from None


def describe_confirmation(flag: ManagedFlag) -> str:
    """Say what was confirmed: the percentage; and who gets the feature all the same."""
    ways = ways_in_line(flag).get("still_through")
    if not ways:
        return "and confirmed it by reading"
    return f"and read that back; but USERS STILL GET IT through {', and '.join(ways)}"


def ways_in_line(flag: ManagedFlag) -> RecordLine:
    """The ways in which users get the feature besides the percentage that is ramped, for the record; empty if none."""
    ways = flag.seen.audience.ways_in(flag.catch_all) if flag.seen.position.enabled else []
    return {"still_through": ways} if ways else {}


def rollback_line(flag: ManagedFlag, before: Exposure, since_when: datetime, why: str) -> RecordLine:
    """What the record says of a rollback that was read back."""
    after = flag.seen.position  # lower than it was to be, where somebody had lowered it further at that moment
    return {
        **from_exposure(before, since_when),
        "to": after.percentage,
        **stands_at(after, since(flag.seen)),
        "why": why,
        **ways_in_line(flag),
    }
