"""Which attempt of a task this is, and since when its run goes on."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

_CLOCKS_DIFFER = timedelta(minutes=5)
_FAILED = "amplitude_rollback"


def is_automatic_retry(context: Context, retries: int | None) -> bool:
    """Whether Airflow made this attempt by itself, after another one failed or died.

    The first attempt, and the first one after a person cleared the task, are not: when a task is cleared, Airflow
    allows ``retries`` more tries than were made so far. Where these numbers do not fit each other, since ``retries``
    was changed in the DAG file meanwhile, the attempt counts as a retry: a retry undoes nothing.
    """
    ti = context.get("ti")
    return ti is not None and ti.try_number > 1 and bool(ti.try_number != _first_try(ti, retries))


def was_cleared(context: Context, retries: int | None) -> bool:
    """Whether a person cleared the task before this attempt, or before the one that it retries."""
    ti = context.get("ti")
    return ti is not None and 1 < _first_try(ti, retries) <= ti.try_number


def _first_try(ti: Any, retries: int | None) -> int:
    """The number of the try that a person began."""
    return max(1, (ti.max_tries or 0) - (retries or 0) + 1)


def keep_failed(context: Context, why: str) -> None:
    """Remember that this attempt is about to roll back, in case that it dies before that is done.

    Airflow 3.3 keeps it. Where it is lost, the next attempt asks the guardrails again before it goes on.
    """
    store, ti = context.get("task_state_store"), context.get("ti")
    if store is None or ti is None:
        return
    with contextlib.suppress(Exception):  # that Airflow cannot be reached keeps nobody from rolling back
        store.set(_FAILED, {"since_try": _first_try(ti, ti.task.retries), "why": why})


def failed_before(context: Context) -> str | None:
    """Why an earlier attempt was about to roll back.

    Some ways of clearing a task keep this, and who clears a task wants it to begin anew: what was kept before does not
    count.
    """
    store, ti = context.get("task_state_store"), context.get("ti")
    kept = store.get(_FAILED) if store is not None else None
    if ti is None or not isinstance(kept, dict) or kept.get("since_try") != _first_try(ti, ti.task.retries):
        return None
    return str(kept.get("why"))


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """When the DAG run began, on the service's clock, or up to some minutes earlier.

    Airflow sets it anew when a finished run is cleared. It goes by the clock of the scheduler's machine, and nobody
    knows how far that is off; nor this one's, save where it is ahead of the service's. What happened a little before
    the run is then taken for its own, so that a retry may stop for nothing. The other way round it would go on after a
    rollback.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    behind = service_now - datetime.now(timezone.utc)
    return run.start_date + min(behind, timedelta(0)) - _CLOCKS_DIFFER
