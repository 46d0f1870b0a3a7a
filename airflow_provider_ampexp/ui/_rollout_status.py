"""Where a rollout stands, what comes next and why not now. Pure: no I/O, no clock, no Airflow.

``decide`` says what comes next, by the very rules by which the task goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.rollout import (
    Abort,
    Action,
    Exposure,
    FlagSnapshot,
    RolloutPlan,
    RolloutState,
    RunGuardrails,
    Wait,
    decide,
)
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import VersionEntry, since
from airflow_provider_ampexp.rollout._own_steps import OwnSteps

State: TypeAlias = Literal["under way", "done", "rolled back", "stopped"]
Reason: TypeAlias = Literal[
    "soaking", "check", "approval", "hold", "window", "working", "moved", "paused", "triggerer", "overdue", ""
]

_GOES_ON = ("deferred", "running", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", "none")
RUN_GOES_ON = ("running", "queued")
_AWAITS = "awaiting_input"
_CLOCKS_DIFFER = timedelta(minutes=5)  # Airflow's and the service's
_OVERDUE_AFTER = timedelta(minutes=5)  # a trigger and a scheduler take their time
_NO_EFFECT = ("skipped", "upstream_failed", "removed")


@dataclass(frozen=True)
class RolloutTask:
    """A task of this Airflow that carries out a rollout.

    :param began: when it began this attempt
    :param memory: what it remembers while it waits; ``None`` while it works, and when it has ended
    :param until: when it looks again, while it waits
    :param record: what it did and measured so far
    :param is_paused: whether its DAG is paused. Airflow begins and resumes no task of a paused DAG.
    :param is_triggerer_alive: whether a triggerer runs that can wake a task that waits
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
    memory: RolloutState | None = None
    until: datetime | None = None
    record: tuple[Mapping[str, Any], ...] = ()
    is_paused: bool = False
    is_triggerer_alive: bool = True

    @property
    def goes_on(self) -> bool:
        return self.state in (*_GOES_ON, _AWAITS)


@dataclass(frozen=True)
class Rollout:
    """All tasks of one run that carry out the rollout of one flag, newest first: one, or one a stage."""

    tasks: tuple[RolloutTask, ...]

    @property
    def task(self) -> RolloutTask:
        """The one that matters: that goes on, otherwise the one that ended it."""
        return next((one for one in self.tasks if one.goes_on), next(iter(self._of_effect), self.tasks[0]))

    @property
    def plan(self) -> RolloutPlan:
        """The plan of the whole rollout, and the approval that is awaited."""
        return replace(self.task.plan, only=None)

    @property
    def state(self) -> State:
        if self.task.goes_on:
            return "under way"
        ending = self.ending.get("what")
        if ending in ("rollback", "stop", "hold"):
            return "rolled back" if ending == "rollback" else "stopped"
        if self.task.state != "success":
            return "stopped"
        last = (
            self.task.plan.only in (None, self.task.plan.all_stages[-1].percentage) and self.task.plan.approval is None
        )
        return "under way" if not last and self.task.run_state in RUN_GOES_ON else "done"

    @property
    def record(self) -> tuple[Mapping[str, Any], ...]:
        """What all of them did and measured, oldest first."""
        return tuple(sorted((one for task in self.tasks for one in task.record), key=lambda one: str(one.get("at"))))

    @property
    def ended(self) -> datetime | None:
        """When, on the service's clock where the record tells."""
        last = self.record[-1].get("at") if self.record else None
        return datetime.fromisoformat(last) if isinstance(last, str) and self.ending else self.task.ended

    def began(self, seen: FlagSnapshot) -> datetime:
        """When it raised first, as the history tells; where that does not, when its first task began."""
        task = self.tasks[-1]
        first = OwnSteps(self.plan, seen.history).first((self.task.run_began or task.began) - _CLOCKS_DIFFER)
        return (first.entry.at if first else None) or task.began

    @property
    def reached(self) -> float | None:
        """The highest percentage that it set; ``None`` where its record does not tell."""
        told = [one.get("to", one.get("from")) for one in self.record if one.get("what") in ("raise", "rollback")]
        told += [one.get("from") for one in self.record if one.get("what") == "rollback"]
        return max((one for one in told if isinstance(one, int | float)), default=None)

    @property
    def ending(self) -> Mapping[str, Any]:
        """The line of the record that says how it ended, if it ended otherwise than well."""
        return next((one for one in reversed(self.record) if one.get("what") in ("rollback", "stop", "hold")), {})

    @property
    def _of_effect(self) -> list[RolloutTask]:
        return [one for one in self.tasks if one.state not in _NO_EFFECT or one.record]


@dataclass(frozen=True)
class RolloutStatus:
    """What the page says of a rollout.

    :param stage: the place of the present stage, from 1; 0 before the first, ``None`` where it stands on none
    :param since: since when
    :param next: the percentage that comes next; ``None`` where none does
    :param when: the earliest moment at which that can be; ``None`` where it is not known
    :param reason: why not now, in a word
    :param why: the same in a sentence
    :param ahead: the stages to come, each with its earliest moment
    """

    state: State
    stage: int | None
    stages: int
    since: datetime | None = None
    next: int | None = None
    when: datetime | None = None
    reason: Reason = ""
    why: str = ""
    ahead: tuple[tuple[int, datetime | None], ...] = field(default=())


def rollouts_of(tasks: Iterable[RolloutTask]) -> dict[tuple[str, Kind, str], list[Rollout]]:
    """The rollouts by connection, kind and id of the flag, the newest first."""
    runs: dict[tuple[str, Kind, str, str, str], list[RolloutTask]] = {}
    for one in sorted(tasks, key=lambda one: one.began, reverse=True):
        runs.setdefault((one.amplitude_conn_id, one.kind, one.flag_id, one.dag_id, one.run_id), []).append(one)
    found: dict[tuple[str, Kind, str], list[Rollout]] = {}
    for (connection_id, kind, flag_id, _, _), of_run in runs.items():
        found.setdefault((connection_id, kind, flag_id), []).append(Rollout(tuple(of_run)))
    return found


def current(rollouts: Iterable[Rollout]) -> Rollout | None:
    """The one to show: that is under way, otherwise the newest."""
    listed = list(rollouts)
    return next((one for one in listed if one.state == "under way"), listed[0] if listed else None)


def standing(rollout: Rollout, seen: FlagSnapshot | None, now: datetime) -> RolloutStatus:
    """Where it stands.

    :param seen: the flag; where its history was not read, what the task remembers stands in for it. ``None`` where
        it is not known.
    :param now: the service's clock
    """
    plan, memory, state = rollout.plan, rollout.task.memory, rollout.state
    stages = len(plan.all_stages)
    if seen is None:
        return RolloutStatus(state, None, stages, why="Amplitude does not show where it stands")
    if not seen.history:
        seen = _as_remembered(seen, memory)
    began = since(seen)
    at = _stage(plan, seen.position)
    here = RolloutStatus(state, at, stages, began.at if began else None)
    if state != "under way":
        unknown = (
            f"its task has ended as {_in_words(rollout.task.state)}; its log says why" if state == "stopped" else ""
        )
        return replace(here, why=str(rollout.ending.get("why") or unknown))
    following = plan.next_above(seen.position.percentage if seen.position.enabled else -1)
    here = replace(here, next=following.percentage if following else None)
    stuck = _stuck(rollout.task, now)
    if stuck is not None:
        return _without_moments(replace(here, reason=stuck[0], why=stuck[1]), plan)
    if memory is None:
        why = "its task works" if rollout.task.state == "running" else f"its task is {_in_words(rollout.task.state)}"
        return _with_ahead(replace(here, reason="working", why=why), plan, seen, now)
    view = Evaluation(plan, seen, memory, now)
    act = decide(plan, seen, memory, now)
    here = replace(here, reason=_reason(act, view), why=act.why, when=_when(act, view))
    return _with_ahead(here, plan, seen, now)


def _stuck(task: RolloutTask, now: datetime) -> tuple[Reason, str] | None:
    """Why Airflow does not go on with the rollout, independent of its plan; ``None`` when it does."""
    if task.is_paused and task.state != "running":
        return "paused", (
            "the DAG is paused: no guardrail is asked, and nothing is raised or rolled back, until somebody unpauses "
            "it. Users keep what they have"
        )
    if task.state == "deferred" and not task.is_triggerer_alive:
        return "triggerer", (
            "no triggerer of this Airflow is alive, so nothing wakes the task: no guardrail is asked, and nothing is "
            "raised or rolled back. Start the triggerer"
        )
    if task.state == "deferred" and task.until is not None and now > task.until + _OVERDUE_AFTER:
        return "overdue", (
            f"its task was due at {task.until:%Y-%m-%d %H:%M:%SZ} and has not been resumed. Look at the triggerer and "
            "the scheduler"
        )
    return None


def _without_moments(here: RolloutStatus, plan: RolloutPlan) -> RolloutStatus:
    """The stages to come, when the time of none of them is known."""
    ahead = tuple((stage.percentage, None) for stage in plan.all_stages if here.next and stage.percentage >= here.next)
    return replace(here, ahead=ahead)


def _as_remembered(seen: FlagSnapshot, memory: RolloutState | None) -> FlagSnapshot:
    """A history of one entry, from what the task saw last."""
    if memory is None or memory.left_at is None:
        return seen
    raised = [one for one in memory.record if one.get("what") == "raise"]
    at = datetime.fromisoformat(raised[-1]["at"]) if raised else memory.seen_first
    return replace(seen, history=(VersionEntry(memory.version or 0, at, memory.hand or "somebody", memory.left_at),))


def _stage(plan: RolloutPlan, position: Exposure) -> int | None:
    if not position.enabled or position.percentage < plan.all_stages[0].percentage:
        return 0
    places = [place for place, one in enumerate(plan.all_stages, 1) if one.percentage == position.percentage]
    return places[0] if places else None


def _reason(act: Action, view: Evaluation) -> Reason:
    if isinstance(act, Abort):
        return "moved"
    if isinstance(act, RunGuardrails):
        return "check"
    if not isinstance(act, Wait):
        return "working"
    # In the order of the rules: the first that holds is the one that waits.
    if view.is_soaking:
        return "soaking"
    if not view.guardrails_passed:
        return "check"
    if not view.is_answered:
        return "approval"
    return "hold" if view.is_held else "window"


def _when(act: Action, view: Evaluation) -> datetime | None:
    """When the next stage can be set at the earliest. What waits for a person or a guardrail has no such moment."""
    if isinstance(act, Wait) and view.is_soaking:
        return _in_window(view.plan, view.soak_ends)
    if isinstance(act, Wait) and view.guardrails_passed and view.is_answered and not view.is_held:
        return _in_window(view.plan, view.now)
    return None


def _with_ahead(here: RolloutStatus, plan: RolloutPlan, seen: FlagSnapshot, now: datetime) -> RolloutStatus:
    """The stages to come. Once the time of one is not known, those after it are not known either."""
    if here.next is None or here.reason == "moved":
        return here
    at = here.when if here.when is not None else now
    ahead: list[tuple[int, datetime | None]] = []
    for stage in plan.all_stages:
        if stage.percentage < here.next:
            continue
        begins = _in_window(plan, at)
        ahead.append((stage.percentage, begins))
        at = (begins or at) + stage.soak
    return replace(here, ahead=tuple(ahead))


def _in_window(plan: RolloutPlan, at: datetime) -> datetime | None:
    try:
        return plan.window.next_open(at) if plan.window else at
    except InvalidInputError:
        return None


def _in_words(state: str) -> str:
    return {
        "none": "to begin",
        "up_for_retry": "to be tried again",
        "success": "done, and the next one is to begin",
    }.get(state, state.replace("_", " "))


def end_of_plan(ahead: Iterable[tuple[int, datetime | None]], plan: RolloutPlan) -> datetime | None:
    """When the last stage to come has soaked, as far as that can be told."""
    last = [(percentage, at) for percentage, at in ahead if at is not None]
    if not last:
        return None
    percentage, at = last[-1]
    stage = plan.stage_at(percentage)
    return at + (stage.soak if stage else timedelta())
