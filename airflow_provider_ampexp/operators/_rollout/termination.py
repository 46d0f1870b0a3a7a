"""How a rollout ends before its last stage: it stops where it is, or rolls back. No retry follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.operators._rollout.alerts import send_alert
from airflow_provider_ampexp.operators._rollout.lowering import confirmed, lower, lowered_line
from airflow_provider_ampexp.operators._rollout.record import begin_file, log_warnings, push_record, record_on_error
from airflow_provider_ampexp.rollout import Abort, RollBack, RolloutState
from airflow_provider_ampexp.rollout._alert import AlertEvent

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
    memory = memory.recorded("stop", flag.now, {"cause": act.cause, "why": act.why})
    stopped = f"The rollout of {described} has stopped and left the flag as it is, at {flag.seen.position}"
    begin_file(flag, memory)
    # An attempt that died after its rollback may have told nobody.
    is_rollback = act.cause == "rolled back"
    event: AlertEvent = "rollback" if is_rollback else "abort"
    send_alert(flag, event, f"{stopped}: {act.why}.", act.why, cause=act.cause, confirmed=is_rollback or None)
    push_record(context, flag, memory)
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
        memory = memory.recorded("hold", flag.now, {"stage": before.percentage, "why": act.why})
        who = ": users still get it" if before.exposure else ", where nobody gets it"
        left = (
            f"The rollout of {described} has failed: {act.why}. It was left at {before}{who}. No rollback: {act.kept}."
        )
        begin_file(flag, memory)
        send_alert(flag, "abort", left, act.why, cause="not lowered")
        push_record(context, flag, memory)
        raise AirflowFailException(left)
    with record_on_error(context, flag, memory):
        lower(context, flag, act.to, act.why, described)
    line = lowered_line(flag, before, since, act.why)
    memory = log_warnings(flag, memory, log).recorded("rollback", flag.now, line)
    done = f"Rolled back {described} from {before} to {flag.seen.position}, {confirmed(flag)}: {act.why}."
    begin_file(flag, memory)
    # Before the record goes to Airflow, which takes minutes when its API server is away.
    send_alert(flag, "rollback", done, act.why, before=before, to=flag.seen.position, confirmed=True)
    push_record(context, flag, memory)
    raise AirflowFailException(f"{done} No retry follows; clear this task to begin again.")
