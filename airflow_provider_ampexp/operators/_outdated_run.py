"""Refuse a write of a task that is out of date: the flag was changed after the task was due, and before it began.

A run of a backfill, or a cleared run, may begin long after it was due. A retry may begin long after the first attempt.
Neither may undo the change of a person who lowered the flag in an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple, NoReturn, cast

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.history._field_changes import Row, rows_of, within
from airflow_provider_ampexp.operators._attempts import Attempt
from airflow_provider_ampexp.operators._written_fields import is_assigned
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import ExposureChange, FlagSnapshot, exposure_changes, versions_before
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._plan import IfChangedSince
from airflow_provider_ampexp.rollout._state import RolloutState

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import FlagRef
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag

_LATE = timedelta(minutes=1)  # a scheduler takes some seconds; a run that begins later was repeated or delayed
# The service's time has steps of 1 s, so the stored start of an attempt can be up to 2 s before its real start. A write
# of an earlier task of the same run must not count as a change by another person.
_CLOCK_STEP = timedelta(seconds=2)


class LateRun(NamedTuple):
    """The time when a run was due, and the time when it began, on the service's clock."""

    due: datetime
    began: datetime

    def __str__(self) -> str:
        return (
            f"after the run was due ({format_timestamp(self.due)}) and before it began ({format_timestamp(self.began)})"
        )


class LateRetry(NamedTuple):
    """The time when the first attempt of a task began, on the service's clock. For a retry, all later changes count."""

    due: datetime
    began: None = None

    def __str__(self) -> str:
        return f"after the first attempt of this task began ({format_timestamp(self.due)})"


def late_run(context: Context, service_now: datetime) -> LateRun | None:
    """Return when the run was due and when it began; ``None`` for a run that began in time, and outside of a task.

    Airflow sets the start again when a run that has ended is cleared.
    """
    run = context.get("dag_run")
    due = getattr(run, "run_after", None) or getattr(run, "logical_date", None)
    began = getattr(run, "start_date", None)
    if due is None or began is None or began - due <= _LATE:
        return None
    shift = service_now - datetime.now(timezone.utc)
    return LateRun(due + shift, began + shift)


def late_retry(attempt: Attempt, service_now: datetime) -> LateRetry | None:
    """Return when the first attempt began; ``None`` if this is no retry, or if Airflow does not store that time."""
    if attempt.first_began is None:
        return None
    local_now = datetime.now(timezone.utc)
    return LateRetry(attempt.first_began + (service_now - local_now) + _CLOCK_STEP)


def changes_unseen(
    kind: str, id: str, versions: Sequence[object], late: LateRun | LateRetry, fields: Iterable[str]
) -> list[Row]:
    """Return the changes of some fields, oldest first, that the run or the retry did not see."""
    names = tuple(fields)
    rows = within(rows_of(kind, id, versions), late.due, late.began)  # type: ignore[arg-type]
    parts = (part for row in rows for part in _items(row, names))
    return [row for row in parts if any(_is_part(row["field"], name) for name in names)]


def _items(row: Row, names: Sequence[str]) -> Iterator[Row]:
    """Yield the row; for a list of deployments, a row for each named deployment that was added or removed."""
    named = [name for name in names if name.startswith("deployments[")]
    if row["field"] != "deployments" or not named:
        yield row
        return
    changed = [name for name in named if is_assigned(name, row["from"]) is not is_assigned(name, row["to"])]
    yield from (cast("Row", {**row, "field": name}) for name in changed)


def refuse_before_a_write(
    client: ManagementClient,
    target: FlagRef,
    context: Context,
    attempt: Attempt,
    fields: Sequence[str],
    described: str,
    if_changed_since: IfChangedSince,
    sets: Callable[[str, object], bool],
) -> None:
    """Let the client refuse its first write if the task is out of date.

    The check sends no request for the first attempt of a run that began in time. If a write of an earlier attempt was
    applied, there is nothing left to write, and the check does not run.

    :param attempt: the attempt, with its start on the clock of this machine
    :param sets: returns true if the task itself sets a field, by its path in the history, to a value. A field that has
        this value needs no write, also if an earlier attempt set the field.
    """

    def refuse() -> None:
        now = client.date or datetime.now(timezone.utc)
        late = [late for late in (late_run(context, now), late_retry(attempt, now)) if late is not None]
        if not late:
            return
        try:
            id = target.identify(client).id
        except TargetNotFoundError:
            return  # the write creates the flag
        versions = target.endpoints(client).versions(id)
        for period in late:
            newest = {row["field"]: row for row in changes_unseen(target.kind, id, versions, period, fields)}
            rows = [row for row in newest.values() if not sets(row["field"], row["to"])]
            if rows:
                newest_row = max(rows, key=lambda row: row["version"])
                refuse_outdated(described, change_in_words(newest_row), period, if_changed_since)

    client.before_write = refuse


def refuse_a_ramp(
    context: Context, plan: RolloutPlan, flag: ManagedFlag, described: str, if_changed_since: IfChangedSince
) -> None:
    """End a ramp whose run is out of date, before its first decision. This sends no request: the history was read.

    To start a rollout again after its rollback, a person clears the task. So the ramp continues if the newest change is
    a stage or the rollback of this rollout.
    """
    run = late_run(context, flag.now)
    if run is None or if_changed_since == "write":
        return
    made = [change for change in exposure_changes(flag.seen.history, run.due) if _is_before(change, run.began)]
    if not made or _is_own(plan, flag.seen, run, made[-1]):
        return
    view = Evaluation(plan, flag.seen, RolloutState(), flag.now)
    if view.next_stage is None or view.plan.approval is not None:
        return  # the ramp would write nothing
    refuse_outdated(described, f"the flag was changed {made[-1]}", run, if_changed_since)


def _is_before(change: ExposureChange, moment: datetime) -> bool:
    return change.entry.at is None or change.entry.at < moment


def _is_own(plan: RolloutPlan, seen: FlagSnapshot, run: LateRun, newest: ExposureChange) -> bool:
    """Return true if the newest change is a step of this rollout, or its rollback from the stage before it."""
    steps = OwnSteps(plan, seen.history)
    first = steps.first(run.due)
    if first is None or newest.entry.by != first.entry.by:
        return False
    if newest.raises:
        return steps.could_make(newest)
    is_complete = newest.before.reached >= plan.all_stages[-1].percentage and not plan.all_stages[-1].soak
    stood = FlagSnapshot(newest.before, history=versions_before(seen.history, newest))
    before = Evaluation(plan, stood, RolloutState(origin=first.before), run.began)
    return not is_complete and newest.after == before.rollback.exposure


def change_in_words(row: Row) -> str:
    """Describe a change: ``rolloutPercentage was changed from 100 to 20 by Maria at ...``."""
    return f"{row['field']} was changed from {row['from']} to {row['to']} by {row['by']} at {row['at']}"


def refuse_outdated(
    described: str, change: str, late: LateRun | LateRetry, if_changed_since: IfChangedSince
) -> NoReturn:
    """End the task, because it is out of date.

    :raises AirflowSkipException: with ``"skip"``
    :raises AirflowFailException: otherwise
    """
    kind: Callable[[str], Exception] = AirflowSkipException if if_changed_since == "skip" else AirflowFailException
    raise kind(
        f"Changing {described} failed: {change}, {late}. Nothing was written. To overrule that change, "
        f"{'start a new run' if isinstance(late, LateRun) else 'clear the task'}, or set if_changed_since='write'."
    )


def _is_part(field: str, name: str) -> bool:
    """Return true if a changed field is the named one, a part of it, or the whole list that contains it.

    If the items of a list have no unique names, such as two segments of one name, the history shows the list as one
    field.
    """
    return field == name or field.startswith((f"{name}.", f"{name}[")) or name.startswith((f"{field}.", f"{field}["))
