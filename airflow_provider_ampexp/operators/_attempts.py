"""The attempt of a task, and the start of its run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_ampexp._keys import BEGUN_STATE
from airflow_provider_ampexp.operators import _airflow_call as airflow_call

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from pydantic import JsonValue

_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Attempt:
    """An attempt of a task.

    :param is_retry: true if Airflow started the attempt automatically, after another attempt ended
    :param was_cleared: true if a person cleared the task before this attempt, or before the attempt that it retries
    :param first_began: for a retry: the start of the first attempt since the run began, or since the task was last
        cleared, on the clock of ``now`` of :func:`this_attempt`; ``None`` if Airflow does not store it
    """

    is_retry: bool
    was_cleared: bool
    first_began: datetime | None = None

    @property
    def cleared_at(self) -> datetime | None:
        """The start of the first attempt after a clear; ``None`` without a clear, or if Airflow does not store it."""
        return self.first_began if self.was_cleared else None


NO_RETRY = Attempt(is_retry=False, was_cleared=False)
"""An attempt of a task that Airflow does not retry."""


def this_attempt(context: Context, retries: int | None, now: datetime) -> Attempt:
    """Return which attempt this is.

    The function uses Airflow's try numbers, and on Airflow 3.3 the note of an earlier attempt in the task state store.
    By the numbers alone, a retry looks like a clear if ``retries`` was lowered in the DAG file by exactly the number of
    tries so far. Airflow sets ``max_tries`` again at each clear, so a note with the same ``max_tries`` shows that this
    is a retry. No call to the store takes longer than 2 seconds, and none fails the task.

    :param now: the time, which the note stores as the start of this attempt
    """
    by_numbers = Attempt(is_automatic_retry(context, retries), was_cleared(context, retries))
    store, ti = context.get("task_state_store"), context.get("ti")
    if store is None or ti is None:
        return by_numbers
    earlier = _noted(store) if ti.try_number > 1 else None
    if earlier is not None and earlier.max_tries == ti.max_tries and earlier.number < ti.try_number:
        return Attempt(True, earlier.number > 1, earlier.at)
    if not by_numbers.is_retry:
        _note(store, _Begun(ti.try_number, ti.max_tries, now))
    return by_numbers


class _Begun(NamedTuple):
    """The first attempt of a run, or the first one after a clear: its number, ``max_tries`` and its start."""

    number: int
    max_tries: int
    at: datetime


def _note(store: TaskStateStoreAccessor, begun: _Begun) -> None:
    note: dict[str, JsonValue] = {"try": begun.number, "max_tries": begun.max_tries, "at": begun.at.isoformat()}
    airflow_call.call_airflow("store the start of this task", lambda: store.set(BEGUN_STATE, note), None)


def _noted(store: TaskStateStoreAccessor) -> _Begun | None:
    note = airflow_call.call_airflow("read the start of this task", lambda: store.get(BEGUN_STATE), None)
    if not isinstance(note, dict):
        return None
    try:
        at = datetime.fromisoformat(str(note["at"]))
        return _Begun(int(str(note["try"])), int(str(note["max_tries"])), at)
    except (KeyError, ValueError):
        return None


def is_automatic_retry(context: Context, retries: int | None) -> bool:
    """Return true if Airflow started this attempt automatically, after another attempt failed or died.

    The first attempt is no retry, and neither is the first attempt after a person cleared the task. After a clear,
    Airflow allows ``retries`` more tries than were made so far. If these numbers do not match because ``retries`` was
    changed in the DAG file, the attempt counts as a retry, because a retry undoes nothing.
    """
    ti = context.get("ti")
    return ti is not None and ti.try_number > 1 and bool(ti.try_number != first_try(ti, retries))


def was_cleared(context: Context, retries: int | None) -> bool:
    """Return true if a person cleared the task before this attempt, or before the attempt that it retries."""
    ti = context.get("ti")
    return ti is not None and 1 < first_try(ti, retries) <= ti.try_number


def first_try(ti: Any, retries: int | None) -> int:
    """Return the number of the first try since the run began, or since the task was last cleared."""
    return max(1, (ti.max_tries or 0) - (retries or 0) + 1)


def run_was_due(context: Context, service_now: datetime) -> datetime | None:
    """Return when the DAG run was due, on the service's clock, or up to some minutes earlier.

    A clear does not change this time.
    """
    run = context.get("dag_run")
    due = None if run is None else getattr(run, "run_after", None) or run.start_date
    return None if due is None else _on_the_services_clock(due, service_now)


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """Return when the DAG run began, on the service's clock, or up to some minutes earlier.

    Airflow sets this time again when a finished run is cleared. The time is from the clock of the scheduler's machine,
    whose error is unknown. The error of this machine's clock is known only if it is ahead of the service's clock. With
    a time that is too early, a change shortly before the run can count as the run's own, so a retry may stop without
    need. With a time that is too late, a retry would continue after a rollback.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    return _on_the_services_clock(run.start_date, service_now)


def _on_the_services_clock(moment: datetime, service_now: datetime) -> datetime:
    behind = service_now - datetime.now(timezone.utc)
    return moment + min(behind, timedelta(0)) - _CLOCKS_DIFFER
