"""Which attempt of a task this is, and since when its run goes on."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

_SLACK = timedelta(seconds=2)


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


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """When the DAG run began, on the service's clock: this machine's may be wrong by minutes.

    Airflow sets it anew when a finished run is cleared.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    behind = service_now - datetime.now(timezone.utc)
    return run.start_date + behind - _SLACK
