"""The simulated Airflow of a story: tries, deferrals, deaths and clears of one task, as the scheduler handles them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_ampexp.guardrails import CheckContext
from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger
from tests.invariants.observed import Attempt, Verdict
from tests.proof.story import Point, PointKind, Story
from tests.proof.virtual import Actor, EventLoop, Killed, Timeline

_QUEUE = 2.0  # seconds until a worker or a triggerer begins a task
_RETRY_DELAY = 60.0
_TRIGGERER_BACK = 20.0
_SENTINEL = {"AmplitudeRampRolloutOperator__sentinel": ExecutorSafeguard.sentinel_value}

_T = TypeVar("_T")
State = Literal["scheduled", "running", "deferred", "up_for_retry", "success", "failed"]


class Store:
    """Airflow's state store of a task, which outlives its tries. It may be down."""

    def __init__(self, timeline: Timeline, *, is_down: bool) -> None:
        self.kept: dict[str, Any] = {}
        self.writers: set[int] = set()
        self._timeline = timeline
        self._is_down = is_down

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        if self._is_down:
            raise RuntimeError("Airflow cannot be reached")
        self.kept[key] = json.loads(json.dumps(value))
        actor = self._timeline.actor
        assert actor is not None
        assert actor.attempt is not None
        if key == "amplitude_experiment_rollback":
            self.writers.add(actor.attempt)


@dataclass
class Try:
    """One try of the task."""

    number: int
    max_tries: int
    by_person: bool
    started: datetime
    run_start: datetime
    ended: datetime | None = None
    outcome: str = "killed"
    said: str = ""
    actor: Actor | None = None
    row: list[str] = field(default_factory=list)
    row_at: tuple[float, datetime] | None = None


class Airflow:
    """The scheduler, the workers and the triggerer, for one task of one run."""

    def __init__(self, story: Story, timeline: Timeline) -> None:
        self.story = story
        self.timeline = timeline
        self.state: State = "scheduled"
        self.tries: list[Try] = []
        self.max_tries = story.retries
        self.store = Store(timeline, is_down=story.state == "down")
        self.verdicts: list[Verdict] = []
        self.stands_since: Callable[[], datetime] = lambda: self.timeline.now
        self.deaths: list[datetime] = []
        self.counts: Counter[PointKind] = Counter()
        self._run_start = self._scheduler_clock()
        for seconds in story.clears:
            timeline.at(seconds, self._clear)
        self._schedule(_QUEUE, by_person=True)

    # -- the scheduler ----------------------------------------------------------------------------------------------

    def _scheduler_clock(self) -> datetime:
        return self.timeline.now + timedelta(seconds=self.story.scheduler_skew)

    def _schedule(self, delay: float, *, by_person: bool = False) -> None:
        self.state = "scheduled"
        place = len(self.tries)

        def begin() -> None:
            if len(self.tries) == place and self.state == "scheduled":
                self.state = "running"
                self.tries.append(Try(place + 1, self.max_tries, by_person, self.timeline.now, self._run_start))
                self._process(place, "execute", _SENTINEL)

        self.timeline.after(delay, begin)

    def _clear(self) -> None:
        """Clear the task as a person: kill and retry a running task, or start another task from the beginning."""
        if not self.tries or self.state == "scheduled":
            return
        current = self.tries[-1]
        if not self.story.clear_keeps_state:
            self.store.kept.clear()
        if self.state == "running":
            if current.actor is not None:
                current.actor.kill()
            self._end(len(self.tries) - 1, "killed", "")
            self._schedule(_QUEUE)
            return
        if self.state in ("success", "failed") and not self.story.run_goes_on:
            self._run_start = self._scheduler_clock()
        if self.state == "deferred":
            self._end(len(self.tries) - 1, "killed", "")
        self.max_tries = current.number + self.story.retries
        self._schedule(_QUEUE, by_person=True)

    def _died(self, place: int, after: float) -> None:
        """Retry after the death of a process, when Airflow has noticed it and if retries are left."""

        def notice() -> None:
            if place == len(self.tries) - 1 and self.state in ("running", "deferred"):
                self._retry(place)

        self.timeline.after(after, notice)

    def _retry(self, place: int) -> None:
        if self.tries[place].number > self.max_tries:
            self.state = "failed"
        else:
            self.state = "up_for_retry"
            number = len(self.tries)
            self.timeline.after(
                _RETRY_DELAY,
                lambda: self._schedule(0) if (len(self.tries), self.state) == (number, "up_for_retry") else None,
            )

    def _end(self, place: int, outcome: str, said: str) -> None:
        one = self.tries[place]
        if one.ended is None:
            one.ended, one.outcome, one.said = self.timeline.now, outcome, said

    def _is_current(self, place: int, state: State) -> bool:
        return place == len(self.tries) - 1 and self.state == state and self.tries[place].ended is None

    # -- workers ----------------------------------------------------------------------------------------------------

    def _process(self, place: int, method: str, given: dict[str, Any]) -> None:
        """Start a worker's process for a try. The end of an orphan has no effect."""
        one = self.tries[place]

        def work() -> None:
            result = self._attempt(place, method, given)
            if isinstance(result, Killed):
                self._end(place, "killed", "")
                return
            self._ended(place, result)

        skews = self.story.skews
        one.actor = self.timeline.begin(work, skew=skews[place % len(skews)], attempt=place)

    def _attempt(self, place: int, method: str, given: dict[str, Any]) -> object:
        """Run the operator, and return its result or its exception."""
        operator = self.story.operator(lambda moment: self._check(place, moment))
        context = self._context(place, operator)
        try:
            result: object = getattr(operator, method)(context, **given)
        except Killed as death:
            return death
        except TaskDeferred as deferred:
            result = deferred
        except Exception as error:
            result = error
        try:
            self.step("end")  # the process reports its end to Airflow
        except Killed as death:
            if isinstance(result, dict):
                self._end(place, "lost", "")
            return death
        return result

    def _ended(self, place: int, result: object) -> None:
        if not self._is_current(place, "running"):
            self._end(place, "killed", "")
        elif isinstance(result, TaskDeferred):
            self.state = "deferred"
            path, arguments = result.trigger.serialize()
            assert path.endswith(AmplitudeSoakTrigger.__name__)
            kwargs = (result.kwargs or {}) if self.story.keeps_kwargs else {}
            plain = json.loads(json.dumps([arguments, kwargs]))
            self._watch(place, result.method_name, *plain, _QUEUE)
        elif isinstance(result, AirflowFailException):
            self.state = "failed"
            self._end(place, "failed", str(result))
        elif isinstance(result, Exception):
            self._retry(place)
            self._end(place, "up_for_retry", f"{type(result).__name__}: {result}")
        else:
            self.state = "success"
            self._end(place, "success", str(result))

    def _context(self, place: int, operator: Any) -> Any:
        one = self.tries[place]
        pushed: dict[str, Any] = {}
        ti = SimpleNamespace(
            id=f"try-{one.number}",
            try_number=one.number,
            max_tries=one.max_tries,
            task=operator,
            xcom_push=lambda key, value: pushed.update({key: json.loads(json.dumps(value))}),
        )
        context = {"ti": ti, "dag_run": SimpleNamespace(start_date=one.run_start)}
        return context if self.story.state == "none" else {**context, "task_state_store": self.store}

    def _check(self, place: int, moment: CheckContext) -> Any:
        """Run the guardrail, and record its verdict."""
        answered = self.step()
        self.timeline.sleep(self.story.check_takes)
        said = self.story.verdict_at(self.timeline.seconds)
        if moment.is_preflight:
            return self._preflight(said, answered)
        one = self.tries[place]
        at = (moment.percentage, moment.stage_started_at)
        # If the history hides fields, the stage may seem to begin later than before, although the exposure is the same.
        same = one.row_at is not None and one.row_at[0] == at[0] and self.stands_since() <= one.row_at[1]
        one.row = [*(one.row if one.row_at == at or same else []), said]
        one.row_at = at
        self.verdicts.append(Verdict(self.timeline.now, moment.percentage, self._acts(one.row), place))
        answered()
        if said == "error":
            raise RuntimeError("the warehouse is down")
        return {"pass": True, "fail": False, "inconclusive": None}[said]

    def _preflight(self, said: str, answered: Callable[[], None]) -> bool:
        """Run the preflight: no user has the feature yet, so the guardrail only has to work, and no verdict counts."""
        answered()
        if said == "error":
            raise RuntimeError("the warehouse is down")
        return True

    def _acts(self, row: list[str]) -> Any:
        last = row[-1]
        count = next((turn for turn, entry in enumerate(reversed(row)) if entry != last), len(row))
        if last == "pass":
            return "go"
        limit = self.story.failure_limit if last == "fail" else self.story.inconclusive_limit
        if count < limit:
            return "wait"
        return "roll back" if self.story.effect == "rollback" else "hold"

    # -- the triggerer ----------------------------------------------------------------------------------------------

    def _watch(self, place: int, method: str, arguments: dict[str, Any], kwargs: dict[str, Any], after: float) -> None:
        def work() -> None:
            trigger = AmplitudeSoakTrigger(**json.loads(json.dumps(arguments)))
            assert self.timeline.actor is not None
            try:
                event = _only_event(trigger, self.timeline.actor.event_loop)
                self.step()
            except Killed:
                self._watch(place, method, arguments, kwargs, _TRIGGERER_BACK)
                return
            if self._is_current(place, "deferred"):
                self.state = "running"
                given = {"event": json.loads(json.dumps(event)), **kwargs}
                self.timeline.after(_QUEUE, lambda: self._resumed(place, method, given))

        def begin() -> None:
            if self._is_current(place, "deferred"):
                self.timeline.begin(work)

        self.timeline.after(after, begin)

    def _resumed(self, place: int, method: str, given: dict[str, Any]) -> None:
        if self._is_current(place, "running"):
            self._process(place, method, given)

    # -- deaths -----------------------------------------------------------------------------------------------------

    def step(self, kind: PointKind = "step") -> Callable[[], None]:
        """Count a step. The story may kill the actor here, or after the step, when the returned function is called."""
        self.counts["step"] += 1
        self.counts[kind] += kind != "step"
        crash = self.planned(self.story.crashes, kind)
        actor = self.timeline.actor
        assert actor is not None
        if crash is None:
            return lambda: None
        self.deaths.append(self.timeline.now)
        if actor.attempt is not None:
            self._died(actor.attempt, crash.noticed_after)
        if crash.lives_on and actor.attempt is not None:
            self.timeline.after(crash.lives_on, actor.kill)
        elif not crash.answered:
            raise Killed
        else:
            return _die
        return lambda: None

    def planned(self, points: Mapping[Point, _T], kind: PointKind = "step") -> _T | None:
        """Return the plan of the story for this step."""
        return points.get((kind, self.counts[kind])) or points.get(("step", self.counts["step"]))

    # -- what was observed ------------------------------------------------------------------------------------------

    def is_kept(self, verdict: Verdict) -> bool:
        """Return true if the next attempt can know a verdict."""
        ended_by_itself = self.tries[verdict.attempt].outcome in ("success", "lost", "failed")
        return ended_by_itself or verdict.attempt in self.store.writers

    def quiet(self, first_seen: dict[int, datetime]) -> list[tuple[datetime, datetime]]:
        """Return the times without a process: from each death or end to the first poll of the next attempt."""
        back = timedelta(seconds=_TRIGGERER_BACK + 2 * _QUEUE)
        looks = sorted(first_seen.values())
        ends = [attempt.ended for attempt in self.tries if attempt.ended is not None]
        return [
            (moment, max(moment + back, next((look for look in looks if look > moment), moment)))
            for moment in (*self.deaths, *ends)
        ]

    def attempts(self, first_seen: dict[int, datetime]) -> list[Attempt]:
        """Return the tries as observations."""
        return [
            Attempt(
                first_seen.get(place, attempt.started),
                attempt.ended or self.timeline.now,
                attempt.outcome,  # type: ignore[arg-type]
                attempt.said,
                attempt.by_person,
            )
            for place, attempt in enumerate(self.tries)
        ]


def _die() -> None:
    raise Killed


def _only_event(trigger: AmplitudeSoakTrigger, loop: EventLoop) -> Any:
    """Run a trigger in its own event loop, and return its only event."""

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload

    running = first()
    try:
        while True:
            loop.run_until(running.send(None))
    except StopIteration as ended:
        return ended.value
