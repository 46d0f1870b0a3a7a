"""How a rollout ends before its last stage: it stops where it is, or rolls back. No retry follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.operators._rollout.lowering import confirmed, lower, lowered_line
from airflow_provider_ampexp.operators._rollout.record import log_warnings, push_record, record_on_error
from airflow_provider_ampexp.rollout import Abort, RollBack, RolloutState

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.reconcile._flag import ManagedFlag


def stop(context: Context, flag: ManagedFlag, act: Abort, memory: RolloutState, described: str) -> NoReturn:
    """Leave the flag as it is.

    :raises AirflowSkipException: where a person did not approve
    :raises AirflowFailException: otherwise
    """
    flag.failure_note.finish()
    push_record(context, flag, memory.recorded("stop", flag.now, {"cause": act.cause, "why": act.why}))
    stopped = f"The rollout of {described} has stopped and left the flag as it is, at {flag.seen.position}"
    if act.cause in ("rejected", "no answer"):
        raise AirflowSkipException(f"{stopped}: {act.why}. What comes after this task is skipped.")
    raise AirflowFailException(f"{stopped}: {act.why}. Clear this task to begin again from there.")


def roll_back(
    context: Context, flag: ManagedFlag, act: RollBack, memory: RolloutState, described: str, log: Logger
) -> NoReturn:
    """Take the flag back, and confirm it by reading; or leave it, where the plan says so.

    :raises AirflowFailException: when that is done
    :raises AmplitudeTaskError: when it is not confirmed, and a retry may finish it
    """
    before, since = flag.seen.position, flag.since(memory)
    if act.to is None:
        flag.failure_note.finish()
        push_record(context, flag, memory.recorded("hold", flag.now, {"stage": before.percentage, "why": act.why}))
        who = ": users still get it" if before.exposure else ", where nobody gets it"
        raise AirflowFailException(
            f"The rollout of {described} has failed: {act.why}. It was left at {before}{who}. No rollback: {act.kept}."
        )
    with record_on_error(context, flag, memory):
        lower(context, flag, act.to, act.why, described)
    line = lowered_line(flag, before, since, act.why)
    push_record(context, flag, log_warnings(flag, memory, log).recorded("rollback", flag.now, line))
    raise AirflowFailException(
        f"Rolled back {described} from {before} to {flag.seen.position}, {confirmed(flag)}: {act.why}. "
        "No retry follows; clear this task to begin again."
    )
