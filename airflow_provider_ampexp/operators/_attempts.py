"""Find out which attempt of a task runs, and when its DAG run was due and began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_ampexp._keys import BEGUN_STATE
from airflow_provider_ampexp.operators import _bounded_call as bounded_call

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from pydantic import JsonValue

_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Attempt:
    """An attempt of a task.

    :param is_retry: true if Airflow started the attempt as a retry
    :param was_cleared: true if a person cleared the task before this attempt, or before the attempt that it retries
    :param first_began: for a retry: the start of the first attempt after the run began or the task was cleared;
        ``None`` if Airflow does not store it. The time is on the clock of the ``now`` of :func:`this_attempt`.
    """

    is_retry: bool
    was_cleared: bool
    first_began: datetime | None = None

    @property
    def cleared_at(self) -> datetime | None:
        """Return when the first attempt after a clear began.

        The result is ``None`` without a clear, and if Airflow does not store the time.
        """
        return self.first_began if self.was_cleared else None


NO_RETRY = Attempt(is_retry=False, was_cleared=False)
"""An attempt of a task that Airflow does not retry."""


def this_attempt(context: Context, retries: int | None, now: datetime) -> Attempt:
    """Return the attempt, from Airflow's numbers and an earlier attempt's note.

    The note is in the task state store (Airflow 3.3). The numbers alone are ambiguous: a retry looks like a clear if
    ``retries`` in the DAG file was lowered by the number of tries. Airflow sets ``max_tries`` again with each clear.
    So a note with the same ``max_tries`` proves a retry. Calls to the store take at most 2 seconds each and never fail
    the task.

    :param context: the context of the task
    :param retries: the ``retries`` of the task
    :param now: the time of this attempt, for its note
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
    """The number, Airflow's limit of tries and the start time of an attempt that is not a retry."""

    number: int
    max_tries: int
    at: datetime


def _note(store: TaskStateStoreAccessor, begun: _Begun) -> None:
    note: dict[str, JsonValue] = {"try": begun.number, "max_tries": begun.max_tries, "at": begun.at.isoformat()}
    bounded_call.call_bounded("note when this task was begun", lambda: store.set(BEGUN_STATE, note), None)


def _noted(store: TaskStateStoreAccessor) -> _Begun | None:
    note = bounded_call.call_bounded("tell when this task was begun", lambda: store.get(BEGUN_STATE), None)
    if not isinstance(note, dict):
        return None
    try:
        at = datetime.fromisoformat(str(note["at"]))
        return _Begun(int(str(note["try"])), int(str(note["max_tries"])), at)
    except (KeyError, ValueError):
        return None


def is_automatic_retry(context: Context, retries: int | None) -> bool:
    """Return true if Airflow started this attempt as a retry.

    Airflow retries a task when an attempt failed or died. The first attempt is not a retry, and neither is the first
    attempt after a clear. When a task is cleared, Airflow allows ``retries`` more tries than were made before. The
    numbers do not agree if ``retries`` was changed in the DAG file. The attempt then counts as a retry, because a retry
    undoes nothing.
    """
    ti = context.get("ti")
    return ti is not None and ti.try_number > 1 and bool(ti.try_number != first_try(ti, retries))


def was_cleared(context: Context, retries: int | None) -> bool:
    """Return true if a person cleared the task before this attempt.

    A clear before the attempt that this attempt retries also counts.
    """
    ti = context.get("ti")
    return ti is not None and 1 < first_try(ti, retries) <= ti.try_number


def first_try(ti: Any, retries: int | None) -> int:
    """Return the number of the first try after the run began or the task was cleared."""
    return max(1, (ti.max_tries or 0) - (retries or 0) + 1)


def run_was_due(context: Context, service_now: datetime) -> datetime | None:
    """Return when the DAG run was due, on the service's clock.

    The returned time can be early by some minutes. A clear does not change it.
    """
    run = context.get("dag_run")
    due = None if run is None else getattr(run, "run_after", None) or run.start_date
    return None if due is None else _on_the_services_clock(due, service_now)


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """Return when the DAG run began, on the service's clock.

    Airflow sets this time again when a finished run is cleared. The time is on the clock of the scheduler's machine,
    and the error of that clock is unknown. So the returned time is early by some minutes. A change shortly before the
    run then counts as a change of the run, and a retry may stop without need. With a late time, a retry could continue
    after a rollback.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    return _on_the_services_clock(run.start_date, service_now)


def _on_the_services_clock(moment: datetime, service_now: datetime) -> datetime:
    behind = service_now - datetime.now(timezone.utc)
    return moment + min(behind, timedelta(0)) - _CLOCKS_DIFFER
