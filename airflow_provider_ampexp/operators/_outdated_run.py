"""End a task that is out of date, because it did not observe a change of the flag.

A cleared or backfilled run did not observe the changes between its due time and its beginning. A retry did not observe
the changes after the first attempt began. A person may have lowered the flag in an incident at that time, and the task
must not overrule that person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.history._field_changes import Row, rows_of, within
from airflow_provider_ampexp.operators._attempts import Attempt
from airflow_provider_ampexp.rollout import FlagSnapshot, RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import ExposureChange, exposure_changes, versions_before
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._plan import IfChangedSince

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import FlagRef
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag

_LATE = timedelta(minutes=1)  # a scheduler needs some seconds; a run that begins later was cleared or delayed
# The service's clock shows whole seconds, so the estimated beginning of an attempt can be early by this much. A change
# by an earlier task of the same run must not count as a change by another actor.
_CLOCK_STEP = timedelta(seconds=2)


class LateRun(NamedTuple):
    """The due time of a late run and its beginning, on the service's clock."""

    due: datetime
    began: datetime

    def __str__(self) -> str:
        return f"the run was due at {_shown(self.due)}, began at {_shown(self.began)}, and in between"


class LateRetry(NamedTuple):
    """The beginning of a task's first attempt, on the service's clock.

    A retry checks all changes after it.
    """

    due: datetime
    began: None = None

    def __str__(self) -> str:
        return f"the first attempt of this task began at {_shown(self.due)}, and after that"


def late_run(context: Context, service_now: datetime) -> LateRun | None:
    """Return the due time and the beginning of a late run.

    The result is ``None`` if the run began in time, and outside of a task. Airflow sets the beginning again when a
    finished run is cleared.
    """
    run = context.get("dag_run")
    due = getattr(run, "run_after", None) or getattr(run, "logical_date", None)
    began = getattr(run, "start_date", None)
    if due is None or began is None or began - due <= _LATE:
        return None
    shift = service_now - datetime.now(timezone.utc)
    return LateRun(due + shift, began + shift)


def late_retry(attempt: Attempt, service_now: datetime) -> LateRetry | None:
    """Return when the first attempt began, for a retry.

    The result is ``None`` if this attempt is not a retry, and if Airflow does not store the time.
    """
    if attempt.first_began is None:
        return None
    local_now = datetime.now(timezone.utc)
    return LateRetry(attempt.first_began + (service_now - local_now) + _CLOCK_STEP)


def changes_unseen(
    kind: str, id: str, versions: Sequence[object], late: LateRun | LateRetry, fields: Iterable[str]
) -> list[Row]:
    """List the changes of fields that the run or retry did not observe, oldest first."""
    names = tuple(fields)
    rows = within(rows_of(kind, id, versions), late.due, late.began)  # type: ignore[arg-type]
    return [row for row in rows if any(_is_part(row["field"], name) for name in names)]


def refuse_before_a_write(
    client: ManagementClient,
    target: FlagRef,
    context: Context,
    attempt: Attempt,
    fields: Sequence[str],
    described: str,
    if_changed_since: IfChangedSince,
) -> None:
    """Make the client refuse its first write if the task is out of date.

    The first attempt of a run that began in time needs no request. The check does not exclude the write of an earlier
    attempt. After that write no difference is left, so this attempt does not write.

    :param client: the client, which calls the check before its first write
    :param attempt: the attempt of this task; its times are on the clock of this machine
    :param fields: the fields that the task may change, by their names in the version history
    :param described: the name of the object for the error
    :param if_changed_since: the error for an out-of-date task, as for :func:`out_of_date`
    """

    def refuse() -> None:
        now = client.date or datetime.now(timezone.utc)
        late = [late for late in (late_run(context, now), late_retry(attempt, now)) if late is not None]
        if not late:
            return
        id = target.identify(client).id
        versions = target.endpoints(client).versions(id)
        for period in late:
            if rows := changes_unseen(target.kind, id, versions, period, fields):
                out_of_date(described, change_in_words(rows[-1]), period, if_changed_since)

    client.before_write = refuse


def refuse_a_ramp(
    context: Context, plan: RolloutPlan, flag: ManagedFlag, described: str, if_changed_since: IfChangedSince
) -> None:
    """End a ramp whose run is out of date, before its first decision.

    This needs no request, because the history is already read. A person clears the task after a rollback to begin the
    rollout again. So the ramp continues if the newest change is a stage or a rollback of this rollout.

    :raises AirflowSkipException: with ``if_changed_since="skip"``
    :raises AirflowFailException: with ``if_changed_since="fail"``
    """
    run = late_run(context, flag.now)
    if run is None or if_changed_since == "write":
        return
    made = [change for change in exposure_changes(flag.seen.history, run.due) if _is_before(change, run.began)]
    if not made or _is_own(plan, flag.seen, run, made[-1]):
        return
    view = Evaluation(plan, flag.seen, RolloutState(), flag.now)
    if view.next_stage is None or view.plan.approval is not None:
        return  # the task would write nothing
    out_of_date(described, f"it was changed {made[-1]}", run, if_changed_since)


def _is_before(change: ExposureChange, moment: datetime) -> bool:
    return change.entry.at is None or change.entry.at < moment


def _is_own(plan: RolloutPlan, seen: FlagSnapshot, run: LateRun, newest: ExposureChange) -> bool:
    """Return true if the newest change is a step of this rollout, or its rollback."""
    steps = OwnSteps(plan, seen.history)
    first = steps.first(run.due)
    if first is None or newest.entry.by != first.entry.by:
        return False
    if newest.raises:
        return steps.could_make(newest)
    is_complete = newest.before.reached >= plan.all_stages[-1].percentage and not plan.all_stages[-1].soak
    stood = FlagSnapshot(newest.before, history=versions_before(seen.history, newest))
    before = Evaluation(plan, stood, RolloutState(origin=first.before), run.began)
    return not is_complete and newest.after == before.rollback_target


def change_in_words(row: Row) -> str:
    """Return a change as text: ``rolloutPercentage was changed from 100 to 20 by Maria at ...``."""
    return f"{row['field']} was changed from {row['from']} to {row['to']} by {row['by']} at {row['at']}"


def out_of_date(described: str, change: str, late: LateRun | LateRetry, if_changed_since: IfChangedSince) -> NoReturn:
    """End the task because the task is out of date.

    :raises AirflowSkipException: with ``"skip"``
    :raises AirflowFailException: otherwise
    """
    kind: Callable[[str], Exception] = AirflowSkipException if if_changed_since == "skip" else AirflowFailException
    raise kind(
        f"Changing {described} failed: {late} {change}. Nothing was written. To overrule that change, "
        f"{'start a new run' if isinstance(late, LateRun) else 'clear the task'}, or set if_changed_since='write'."
    )


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"


def _is_part(field: str, name: str) -> bool:
    return field == name or field.startswith((f"{name}.", f"{name}["))
