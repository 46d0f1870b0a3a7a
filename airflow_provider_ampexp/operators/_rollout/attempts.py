"""Which attempt of a task this is, and since when its run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_ampexp.operators import _bounded_call as bounded_call

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from pydantic import JsonValue

    from airflow_provider_ampexp.guardrails._time_limit import LimitedCall

_CLOCKS_DIFFER = timedelta(minutes=5)
_FAILED = "amplitude_rollback"
_BEGUN = "amplitude_begun"
_KEEP = "keep the reason for the rollback"


@dataclass(frozen=True)
class Attempt:
    """Which attempt of its task this is.

    :param is_retry: whether Airflow made it by itself
    :param was_cleared: whether a person cleared the task before it, or before the attempt that it retries
    :param cleared_at: for a retry: when the first attempt after that clear began, on the service's clock; ``None``
        where Airflow does not tell
    """

    is_retry: bool
    was_cleared: bool
    cleared_at: datetime | None = None


def this_attempt(context: Context, retries: int | None, service_now: datetime) -> Attempt:
    """Tell which attempt this is, by Airflow's numbers and by an earlier attempt's note in the task state store (3.3).

    The numbers alone take a retry for a clear where ``retries`` was lowered in the DAG file by just as many as there
    were tries. Airflow sets ``max_tries`` again with each clear, so a note with the same ``max_tries`` tells the two
    apart. No call to the store takes longer than 2 seconds, and none fails the task.
    """
    by_numbers = Attempt(is_automatic_retry(context, retries), was_cleared(context, retries))
    store, ti = context.get("task_state_store"), context.get("ti")
    if store is None or ti is None:
        return by_numbers
    earlier = _noted(store) if ti.try_number > 1 else None
    if earlier is not None and earlier.max_tries == ti.max_tries and earlier.number < ti.try_number:
        was_cleared_then = earlier.number > 1
        return Attempt(True, was_cleared_then, earlier.at if was_cleared_then else None)
    if not by_numbers.is_retry:
        _note(store, _Begun(ti.try_number, ti.max_tries, service_now))
    return by_numbers


class _Begun(NamedTuple):
    """An attempt that a person began: its number, the most tries that Airflow allowed, and when it began."""

    number: int
    max_tries: int
    at: datetime


def _note(store: TaskStateStoreAccessor, begun: _Begun) -> None:
    note: dict[str, JsonValue] = {"try": begun.number, "max_tries": begun.max_tries, "at": begun.at.isoformat()}
    bounded_call.call_bounded("note when this task was begun", lambda: store.set(_BEGUN, note), None)


def _noted(store: TaskStateStoreAccessor) -> _Begun | None:
    note = bounded_call.call_bounded("tell when this task was begun", lambda: store.get(_BEGUN), None)
    if not isinstance(note, dict):
        return None
    try:
        at = datetime.fromisoformat(str(note["at"]))
        return _Begun(int(str(note["try"])), int(str(note["max_tries"])), at)
    except (KeyError, ValueError):
        return None


def is_automatic_retry(context: Context, retries: int | None) -> bool:
    """Whether Airflow made this attempt by itself, after another one failed or died.

    The first attempt, and the first one after a person cleared the task, are not: when a task is cleared, Airflow
    allows ``retries`` more tries than were made so far. Where these numbers do not fit each other, since ``retries``
    was changed in the DAG file meanwhile, the attempt counts as a retry: a retry undoes nothing.
    """
    ti = context.get("ti")
    return ti is not None and ti.try_number > 1 and bool(ti.try_number != first_try(ti, retries))


def was_cleared(context: Context, retries: int | None) -> bool:
    """Whether a person cleared the task before this attempt, or before the one that it retries."""
    ti = context.get("ti")
    return ti is not None and 1 < first_try(ti, retries) <= ti.try_number


def first_try(ti: Any, retries: int | None) -> int:
    """The number of the try that a person began."""
    return max(1, (ti.max_tries or 0) - (retries or 0) + 1)


class FailureNote:
    """Notes in Airflow that this attempt is about to roll back, in case that it dies before that is done.

    The rollback does not wait for the note. Airflow 3.3 keeps it. Where it is lost, the next attempt asks the
    guardrails again before it goes on.
    """

    def __init__(self) -> None:
        self._why: str | None = None
        self._call: LimitedCall[None] | None = None

    def begin(self, context: Context, why: str) -> None:
        """Begin to note it. The same reason is noted once."""
        store, ti = context.get("task_state_store"), context.get("ti")
        if store is None or ti is None or why == self._why:
            return
        note: dict[str, JsonValue] = {"since_try": first_try(ti, ti.task.retries), "why": why}
        self._why, self._call = why, bounded_call.begin(_KEEP, lambda: store.set(_FAILED, note))

    def finish(self) -> None:
        """Wait for the note, for 2 seconds at most since it was begun."""
        if self._call is not None:
            bounded_call.finish(_KEEP, self._call, None)
            self._call = None


def pending_rollback_reason(context: Context) -> str | None:
    """Why an earlier attempt was about to roll back; ``None`` also where Airflow does not tell within 2 seconds.

    Some ways of clearing a task keep this, and a person who clears a task wants a new beginning: what was kept before
    does not count.
    """
    store, ti = context.get("task_state_store"), context.get("ti")
    if store is None or ti is None:
        return None
    kept = bounded_call.call_bounded("tell whether a rollback was left undone", lambda: store.get(_FAILED), None)
    if not isinstance(kept, dict) or kept.get("since_try") != first_try(ti, ti.task.retries):
        return None
    return str(kept.get("why"))


def run_was_due(context: Context, service_now: datetime) -> datetime | None:
    """When the DAG run was due, on the service's clock, or up to some minutes earlier. No clear changes that."""
    run = context.get("dag_run")
    due = None if run is None else getattr(run, "run_after", None) or run.start_date
    return None if due is None else _on_the_services_clock(due, service_now)


def run_began(context: Context, service_now: datetime) -> datetime | None:
    """When the DAG run began, on the service's clock, or up to some minutes earlier.

    Airflow sets it again when a finished run is cleared. It goes by the clock of the scheduler's machine, and nobody
    knows how far that is off; nor this one's, except where it is ahead of the service's. What happened a little before
    the run is then taken for its own, so that a retry may stop for nothing. The other way round it would go on after a
    rollback.
    """
    run = context.get("dag_run")
    if run is None or run.start_date is None:
        return None
    return _on_the_services_clock(run.start_date, service_now)


def _on_the_services_clock(moment: datetime, service_now: datetime) -> datetime:
    behind = service_now - datetime.now(timezone.utc)
    return moment + min(behind, timedelta(0)) - _CLOCKS_DIFFER
