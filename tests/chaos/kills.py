"""Kills, and how long Airflow took to notice each and to go on."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from tests.chaos.database import Database, TaskInstance
from tests.chaos.processes import Busy, Processes, kill


@dataclass(kw_only=True)
class Kill(ABC):
    """One kill -9, watched until it is mended.

    :param detected: seconds until Airflow knew; ``None`` when it has not yet
    :param recovered: seconds until somebody else had taken the work up
    :param is_clean: whether nobody who had to notice or to mend it was killed meanwhile, so that the seconds mean
        something
    """

    what: str
    at: float = field(default_factory=time.monotonic)
    detected: float | None = None
    recovered: float | None = None
    is_clean: bool = True

    def watch(self, database: Database, tasks: dict[str, TaskInstance]) -> None:
        """Look whether it was noticed, and whether it is mended."""
        detected, recovered = self.look(database, tasks)
        passed = time.monotonic() - self.at
        if detected and self.detected is None:
            self.detected = passed
        if recovered and self.recovered is None:
            self.recovered = passed

    def told(self) -> dict[str, object]:
        """For a person who looks into what happened."""
        at = time.time() - (time.monotonic() - self.at)
        return {"at": at, "what": self.what, "detected": self.detected, "recovered": self.recovered}

    @property
    def helpers(self) -> tuple[str, ...]:
        """Whose kill holds its recovery up."""
        return ("scheduler", "scheduler and its workers")

    @abstractmethod
    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        """Whether it is detected now, and recovered."""


@dataclass(kw_only=True)
class TaskKill(Kill):
    """A process at work on a try. It is mended when the next try runs, or the run has ended."""

    run_id: str
    task_instance: str

    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        now = tasks[self.run_id]
        is_over = now.run_state in ("success", "failed")
        is_next = now.id != self.task_instance
        detected = is_over or is_next or now.state != "running"
        return detected, is_over or (is_next and now.state in ("running", "deferred"))


@dataclass(kw_only=True)
class TriggererKill(Kill):
    """The triggerer. It is mended when the next one has all its triggers that still wait."""

    job: int
    triggers: frozenset[int]

    @property
    def helpers(self) -> tuple[str, ...]:
        return ("triggerer",)

    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        owners = [owner for id, owner in database.triggers().items() if id in self.triggers]
        taken = [owner not in (self.job, None) for owner in owners]
        return not owners or any(taken), all(taken)


@dataclass(kw_only=True)
class SchedulerKill(Kill):
    """The scheduler. It is detected when a try of the old one is taken from it, mended when the new one runs a task."""

    job: int
    running: dict[str, str]

    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        taken = any(tasks[run].id != id or tasks[run].state is None for run, id in self.running.items())
        runs = any(value.state == "running" and (value.queued_by or 0) > self.job for value in tasks.values())
        return taken or runs, runs


# Most kills wait until Airflow has come back from the one before: one that is always starting does nothing that could
# be killed. Some do not, since a death may come at any time.
_IMPATIENT = 0.25
_LONGEST_WAIT = 45.0


class Killer:
    """Kills at random, and starts again what nobody else does.

    :param random: seeded
    """

    def __init__(self, processes: Processes, database: Database, random: random.Random) -> None:
        self.kills: list[Kill] = []
        self._processes = processes
        self._database = database
        self._random = random
        self._restarts: dict[str, float] = {}
        self._is_patient = True

    def strike(self, tasks: dict[str, TaskInstance]) -> Kill | None:
        """One kill, if it is time for one and there is something to kill of the sort that was drawn."""
        if self._is_patient and self._comes_back():
            return None
        has_celery = self._processes.has("worker-1")
        sorts = {"task": 7, "supervisor": 7, "triggerer": 5, "scheduler": 3, "scheduler and workers": 2}
        if has_celery:
            sorts = {"task": 6, "supervisor": 5, "celery worker": 5, "triggerer": 5, "scheduler": 3}
        sort = self._random.choices(list(sorts), list(sorts.values()))[0]
        if sort == "task":
            done = self._kill_busy("task", self._processes.tasks(), tasks)
        elif sort == "supervisor":
            done = self._kill_busy("worker", self._processes.supervisors(), tasks)
        elif sort == "triggerer":
            done = self._kill_triggerer()
        elif sort == "celery worker":
            done = self._kill_celery_worker(tasks)
        else:
            done = self._kill_scheduler(tasks, with_workers=sort != "scheduler")
        if done is not None:
            for other in self.kills:
                if other.recovered is None and done.what in other.helpers:
                    other.is_clean = False
            self.kills.append(done)
            self._is_patient = self._random.random() >= _IMPATIENT
        return done

    def _comes_back(self) -> bool:
        """Whether a scheduler or a triggerer is not yet there again."""
        newest = [kill for kill in self.kills if time.monotonic() - kill.at < _LONGEST_WAIT]
        return any(kill.recovered is None and not isinstance(kill, TaskKill) for kill in newest)

    def mend(self) -> None:
        """Start again what was killed, a moment later, and what ended by itself."""
        for part in self._processes.dead():
            self._restarts.setdefault(part, time.monotonic() + 1)
        for part, at in list(self._restarts.items()):
            if time.monotonic() >= at:
                self._processes.start(part)
                del self._restarts[part]

    def watch(self, tasks: dict[str, TaskInstance]) -> None:
        """Look what became of the kills."""
        for item in self.kills:
            if item.recovered is None:
                item.watch(self._database, tasks)

    def _kill_busy(self, what: str, found: list[Busy], tasks: dict[str, TaskInstance]) -> Kill | None:
        by_id = {value.id: value for value in tasks.values() if value.state == "running"}
        found = [process for process in found if process.task_instance in by_id]
        if not found:
            return None
        victim = self._random.choice(found)
        kill(victim.process)
        of = by_id[victim.task_instance]
        return TaskKill(what=what, run_id=of.run_id, task_instance=of.id)

    def _kill_triggerer(self) -> Kill | None:
        processes = self._processes.of("triggerer")
        if not processes:
            return None
        job = self._database.newest_job("TriggererJob")
        triggers = frozenset(id for id, owner in self._database.triggers().items() if owner == job)
        # Both of its processes at once, as when a machine dies; or the one that watches over the other.
        for process in self._random.choice([processes, processes[:1]]):
            kill(process)
        self._restarts["triggerer"] = time.monotonic() + self._random.uniform(0.5, 3)
        # One that had nothing yet leaves nothing to be taken up.
        return TriggererKill(what="triggerer", job=job, triggers=triggers, is_clean=bool(triggers))

    def _kill_scheduler(self, tasks: dict[str, TaskInstance], *, with_workers: bool) -> Kill | None:
        processes = self._processes.of("scheduler")
        if not processes:
            return None
        job = self._database.newest_job("SchedulerJob")
        running = {value.run_id: value.id for value in tasks.values() if value.state == "running"}
        for process in processes if with_workers else processes[:1]:
            kill(process)
        self._restarts["scheduler"] = time.monotonic() + self._random.uniform(0.5, 3)
        what = "scheduler and its workers" if with_workers else "scheduler"
        return SchedulerKill(what=what, job=job, running=running)

    def _kill_celery_worker(self, tasks: dict[str, TaskInstance]) -> Kill | None:
        name = self._random.choice(["worker-1", "worker-2"])
        processes = self._processes.of(name)
        pids = {process.pid for process in processes}
        busy = [task for task in self._processes.tasks() if task.process.pid in pids]
        at_work = {process.task_instance for process in busy}
        running = [value for value in tasks.values() if value.id in at_work and value.state == "running"]
        if not running:
            return None
        for process in processes:
            kill(process)
        self._restarts[name] = time.monotonic() + self._random.uniform(0.5, 3)
        return TaskKill(what="celery worker", run_id=running[0].run_id, task_instance=running[0].id)
