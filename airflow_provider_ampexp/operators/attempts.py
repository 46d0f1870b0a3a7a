"""Which attempt of a task this is, and since when its run goes on."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

_SLACK = timedelta(seconds=2)
_FAILED = "amplitude_rollback"


def is_automatic_retry(context: Context, retries: int | None) -> bool:
    """Whether Airflow made this attempt by itself, after another one failed or died.

    The first attempt, and the first one after a person cleared the task, are not: when a task is cleared, Airflow
    allows ``retries`` more tries than were made so far.
    """
    ti = context.get("ti")
    if ti is None:
        return False
    first = (ti.max_tries or 0) - (retries or 0) + 1
    return bool(ti.try_number > max(1, first))


def keep_failed(context: Context, why: str) -> None:
    """Remember that this attempt is about to roll back, in case that it dies before that is done.

    Airflow 3.3 keeps it. Where it is lost, the next attempt asks the guardrails again before it goes on.
    """
    if (store := context.get("task_state_store")) is not None:
        store.set(_FAILED, why)


def failed_before(context: Context) -> str | None:
    """Why an earlier attempt was about to roll back.

    Only for an automatic retry: some ways of clearing a task keep this, and who clears a task wants it to begin anew.
    """
    store = context.get("task_state_store")
    why = store.get(_FAILED) if store is not None else None
    return why if isinstance(why, str) else None


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """When the DAG run began, on the service's clock: this machine's may be wrong by minutes.

    Airflow sets it anew when a finished run is cleared.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    behind = service_now - datetime.now(timezone.utc)
    return run.start_date + behind - _SLACK
