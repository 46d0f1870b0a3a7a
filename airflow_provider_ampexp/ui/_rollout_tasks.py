"""The tasks of this Airflow that carry out rollouts, and the rollouts of these tasks. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._history import FlagSnapshot
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

RUN_UNDER_WAY = ("running", "queued")
CLOCKS_DIFFER = timedelta(minutes=5)  # Airflow's and the service's
_UNDER_WAY = (
    "deferred",
    "running",
    "queued",
    "scheduled",
    "up_for_retry",
    "up_for_reschedule",
    "restarting",
    "none",
    "awaiting_input",
)
_FAILED = ("failed", "upstream_failed")
_NO_EFFECT = ("skipped", "upstream_failed", "removed")
# The lines of a record that end a rollout without success. The first kind that is found has the reason.
_ENDS = (
    (RecordKind.ROLLBACK, RecordKind.STOP, RecordKind.NOT_LOWERED),
    (RecordKind.CONFIRMED, RecordKind.LEFT, RecordKind.ERROR),
)


@dataclass(frozen=True)
class RolloutTask:
    """A task of this Airflow that carries out a rollout.

    :param began: when this attempt began
    :param rollout_began: when the rollout began, on the service's clock; ``None`` if the task did not store it
    :param rollout_state: the state of the rollout while it waits; ``None`` while it works, and when it has ended
    :param until: the end of its wait
    :param record: its actions and measurements
    :param is_paused: whether its DAG is paused. Airflow starts and resumes no task of a paused DAG.
    :param is_triggerer_alive: whether a triggerer runs that can resume a waiting task
    """

    amplitude_conn_id: str
    kind: Kind
    flag_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    run_state: str
    run_began: datetime | None
    began: datetime
    ended: datetime | None
    plan: RolloutPlan
    rollout_state: RolloutState | None = None
    until: datetime | None = None
    record: tuple[Mapping[str, Any], ...] = ()
    is_paused: bool = False
    is_triggerer_alive: bool = True
    rollout_began: datetime | None = None

    @property
    def is_under_way(self) -> bool:
        return self.state in _UNDER_WAY

    @property
    def has_failed(self) -> bool:
        return self.state in _FAILED

    @property
    def is_part(self) -> bool:
        """Whether it is one stage or one approval of a group."""
        return self.plan.only is not None or self.plan.approval is not None

    @property
    def is_last(self) -> bool:
        """Whether the rollout is done when this task succeeds."""
        return self.plan.approval is None and self.plan.only in (None, self.plan.all_stages[-1].percentage)


@dataclass(frozen=True)
class Rollout:
    """All tasks of one run that ramp one flag for the same users, newest first: one, or one a stage."""

    tasks: tuple[RolloutTask, ...]

    @property
    def task(self) -> RolloutTask:
        """The task under way; otherwise the task that ended the rollout."""
        of_effect = (task for task in self.tasks if task.state not in _NO_EFFECT or task.record)
        return next((task for task in self.tasks if task.is_under_way), next(of_effect, self.tasks[0]))

    @property
    def plan(self) -> RolloutPlan:
        """The plan of the whole rollout, with the approval that is requested."""
        return replace(self.task.plan, only=None)

    @property
    def is_group(self) -> bool:
        """Whether each stage is a task of its own."""
        return any(task.is_part for task in self.tasks)

    @property
    def has_failed(self) -> bool:
        """Whether one of its tasks failed."""
        return any(task.has_failed for task in self.tasks)

    @property
    def run(self) -> tuple[str, str]:
        """Its DAG and its run."""
        return (self.tasks[0].dag_id, self.tasks[0].run_id)

    @property
    def is_rolling_back(self) -> bool:
        """Whether a task of the group failed, and its rollback task has not ended yet."""
        if not self.is_group or not self.has_failed:
            return False
        if self.task.is_under_way:
            return not self.task.is_part
        has_begun = any(not task.is_part for task in self.tasks)
        return not has_begun and not self.ending and self.task.run_state in RUN_UNDER_WAY

    @property
    def is_over(self) -> bool:
        if self.task.is_under_way or self.is_rolling_back:
            return False
        if self.ending or self.task.state != "success":
            return True
        return self.task.is_last or self.task.run_state not in RUN_UNDER_WAY

    @property
    def record(self) -> tuple[Mapping[str, Any], ...]:
        """The actions and measurements of all tasks, oldest first."""
        return tuple(
            sorted((line for task in self.tasks for line in task.record), key=lambda line: str(line.get("at")))
        )

    @property
    def ended(self) -> datetime | None:
        """When the rollout ended, on the service's clock if the record shows it."""
        last = self.record[-1].get("at") if self.record else None
        return datetime.fromisoformat(last) if isinstance(last, str) and self.ending else self.task.ended

    def began(self, seen: FlagSnapshot) -> datetime:
        """Return the time of its first raise by the history, otherwise the start of its first task."""
        task = self.tasks[-1]
        first = OwnSteps(self.plan, seen.history).first(self.run_began)
        return (first.entry.at if first else None) or task.began

    @property
    def run_began(self) -> datetime:
        """When its run began, on the service's clock, or some minutes earlier if no task stored it."""
        task = self.tasks[-1]
        by_airflow = (task.run_began or task.began) - CLOCKS_DIFFER
        stored = [known.rollout_began for known in self.tasks if known.rollout_began is not None]
        return max(by_airflow, min(stored, default=by_airflow))

    @property
    def reached(self) -> float | None:
        """The highest percentage that it set; ``None`` if its record does not show it."""
        raised = [
            line.get("to", line.get("from"))
            for line in self.record
            if line.get("what") in (RecordKind.RAISE, RecordKind.ROLLBACK)
        ]
        raised += [line.get("from") for line in self.record if line.get("what") == RecordKind.ROLLBACK]
        return max((percentage for percentage in raised if isinstance(percentage, int | float)), default=None)

    @property
    def ending(self) -> Mapping[str, Any]:
        """The line of the record with the end of the rollout, if it ended without success."""
        if self.task.state == "success" and self.task.is_part:
            return {}
        newest_first = self.record[::-1]
        found = (line for whats in _ENDS for line in newest_first if line.get("what") in whats)
        return next(found, {})


def rollouts_by_flag(tasks: Iterable[RolloutTask]) -> dict[tuple[str, Kind, str], list[Rollout]]:
    """Return the rollouts by connection, kind and id of the flag, the newest first.

    Each segment has its own rollout, because a run can ramp several segments of one flag.
    """
    of_flags: dict[tuple[str, Kind, str], dict[tuple[str, str, str | None], list[RolloutTask]]] = {}
    for task in sorted(tasks, key=lambda task: task.began, reverse=True):
        rollouts = of_flags.setdefault((task.amplitude_conn_id, task.kind, task.flag_id), {})
        rollouts.setdefault((task.dag_id, task.run_id, task.plan.segment), []).append(task)
    return {flag: [Rollout(tuple(tasks)) for tasks in rollouts.values()] for flag, rollouts in of_flags.items()}


def latest(rollouts: Iterable[Rollout]) -> Rollout | None:
    """Return the rollout to show: the rollout under way; otherwise a failed one of the newest run, or the newest."""
    listed = list(rollouts)
    if not listed:
        return None
    of_run = (rollout for rollout in listed if rollout.run == listed[0].run and rollout.has_failed)
    return next((rollout for rollout in listed if not rollout.is_over), next(of_run, listed[0]))
