"""Whether a run is out of date: somebody changed the flag between the moment it was due and the moment it began.

A run that is run again, or filled in afterwards, knows nothing of what happened since it was due. It must not overrule
a person who lowered the flag in an incident meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple, NoReturn, get_args

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.history._field_changes import Row, rows_of, within
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

CHOICES = get_args(IfChangedSince)
_LATE = timedelta(minutes=1)  # a scheduler takes some seconds; a run that begins later was run again or held up


class LateRun(NamedTuple):
    """When a run was due, and when it began, on the service's clock."""

    due: datetime
    began: datetime


def late_run(context: Context, service_now: datetime) -> LateRun | None:
    """Return when the run was due and when it began; ``None`` for a run that began in time, and outside of a task.

    Airflow sets the beginning again when a run that has ended is cleared.
    """
    run = context.get("dag_run")
    due = getattr(run, "run_after", None) or getattr(run, "logical_date", None)
    began = getattr(run, "start_date", None)
    if due is None or began is None or began - due <= _LATE:
        return None
    shift = service_now - datetime.now(timezone.utc)
    return LateRun(due + shift, began + shift)


def changes_since_due(kind: str, id: str, versions: Sequence[object], run: LateRun, fields: Iterable[str]) -> list[Row]:
    """List the changes of some fields, oldest first, made after the run was due and before it began."""
    names = tuple(fields)
    rows = within(rows_of(kind, id, versions), run.due, run.began)  # type: ignore[arg-type]
    return [row for row in rows if any(_is_part(row["field"], name) for name in names)]


def refuse_before_a_write(
    client: ManagementClient,
    target: FlagRef,
    context: Context,
    fields: Sequence[str],
    described: str,
    if_changed_since: IfChangedSince,
) -> None:
    """Let the client refuse its first write when the run is out of date. A run that began in time costs no request."""
    if if_changed_since == "write":
        return

    def refuse() -> None:
        run = late_run(context, client.date or datetime.now(timezone.utc))
        if run is None:
            return
        id = target.identify(client).id
        rows = changes_since_due(target.kind, id, target.endpoints(client).versions(id), run, fields)
        if rows:
            out_of_date(described, told(rows[-1]), run, if_changed_since)

    client.before_write = refuse


def refuse_a_ramp(
    context: Context, plan: RolloutPlan, flag: ManagedFlag, described: str, if_changed_since: IfChangedSince
) -> None:
    """End a ramp whose run is out of date, before its first look. It costs no request: the history is read already.

    Clearing the task of a rollout that rolled back is how a person begins it again on purpose. So a newest change that
    is the rollout's own, a stage or its rollback, is no reason to refuse.
    """
    run = late_run(context, flag.now)
    if run is None or if_changed_since == "write":
        return
    made = [change for change in exposure_changes(flag.seen.history, run.due) if _is_before(change, run.began)]
    if not made or _is_own(plan, flag.seen, run, made[-1]):
        return
    view = Evaluation(plan, flag.seen, RolloutState(), flag.now)
    if view.next_stage is None or view.plan.approval is not None:
        return  # it would write nothing
    out_of_date(described, f"it was changed {made[-1]}", run, if_changed_since)


def _is_before(change: ExposureChange, moment: datetime) -> bool:
    return change.entry.at is None or change.entry.at < moment


def _is_own(plan: RolloutPlan, seen: FlagSnapshot, run: LateRun, newest: ExposureChange) -> bool:
    """Whether the newest change is a step of this rollout, or its rollback from the stage that it had reached."""
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


def told(row: Row) -> str:
    """The last change, in words: ``rolloutPercentage was changed from 100 to 20 by Maria at ...``."""
    return f"{row['field']} was changed from {row['from']} to {row['to']} by {row['by']} at {row['at']}"


def out_of_date(described: str, change: str, run: LateRun, if_changed_since: IfChangedSince) -> NoReturn:
    """End the task, since its run is out of date.

    :raises AirflowSkipException: with ``"skip"``
    :raises AirflowFailException: otherwise
    """
    kind: Callable[[str], Exception] = AirflowSkipException if if_changed_since == "skip" else AirflowFailException
    raise kind(
        f"Changing {described} failed: the run was due at {run.due:%Y-%m-%d %H:%M:%SZ}, began at "
        f"{run.began:%Y-%m-%d %H:%M:%SZ}, and in between {change}. Nothing was written. To overrule that change, start "
        "a new run, or set if_changed_since='write'."
    )


def _is_part(field: str, name: str) -> bool:
    return field == name or field.startswith((f"{name}.", f"{name}["))
