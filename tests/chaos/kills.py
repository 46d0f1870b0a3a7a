"""Kills, and the seconds until Airflow noticed each of them and recovered."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from tests.chaos.database import Database, TaskInstance
from tests.chaos.processes import Busy, Processes, kill


@dataclass(kw_only=True)
class Kill(ABC):
    """One kill -9, watched until Airflow has recovered.

    :param detected: seconds until Airflow noticed the kill; ``None`` before that
    :param recovered: seconds until another process had taken over the work
    :param is_clean: whether no process that had to notice or to recover was killed during that time, so that the
        seconds are comparable
    """

    what: str
    at: float = field(default_factory=time.monotonic)
    detected: float | None = None
    recovered: float | None = None
    is_clean: bool = True

    def watch(self, database: Database, tasks: dict[str, TaskInstance]) -> None:
        """Check whether Airflow has noticed the kill, and has recovered."""
        detected, recovered = self.look(database, tasks)
        passed = time.monotonic() - self.at
        if detected and self.detected is None:
            self.detected = passed
        if recovered and self.recovered is None:
            self.recovered = passed

    def told(self) -> dict[str, object]:
        """Return the kill as JSON values, for an analysis."""
        at = time.time() - (time.monotonic() - self.at)
        return {"at": at, "what": self.what, "detected": self.detected, "recovered": self.recovered}

    @property
    def helpers(self) -> tuple[str, ...]:
        """The kinds of kills that delay the recovery."""
        return ("scheduler", "scheduler and its workers")

    @abstractmethod
    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        """Return whether Airflow has noticed the kill, and whether it has recovered."""


@dataclass(kw_only=True)
class TaskKill(Kill):
    """The kill of a process that runs a try. Airflow has recovered when the next try runs, or the run has ended."""

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
    """The kill of a triggerer. Airflow has recovered when the next triggerer has all triggers that still wait."""

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
    """The kill of a scheduler.

    Airflow has noticed when it takes a try from the old scheduler, and has recovered when the new one runs a task.
    """

    job: int
    running: dict[str, str]

    def look(self, database: Database, tasks: dict[str, TaskInstance]) -> tuple[bool, bool]:
        taken = any(tasks[run].id != id or tasks[run].state is None for run, id in self.running.items())
        runs = any(value.state == "running" and (value.queued_by or 0) > self.job for value in tasks.values())
        return taken or runs, runs


# Most kills wait until Airflow has recovered from the kill before, because an Airflow that only starts has no work to
# interrupt. Some kills do not wait, because a death may come at any time.
_IMPATIENT = 0.25
_LONGEST_WAIT = 45.0


class Killer:
    """Kill processes at random, and restart the parts that Airflow does not restart itself.

    :param random: a seeded generator
    """

    def __init__(self, processes: Processes, database: Database, random: random.Random) -> None:
        self.kills: list[Kill] = []
        self._processes = processes
        self._database = database
        self._random = random
        self._restarts: dict[str, float] = {}
        self._is_patient = True

    def strike(self, tasks: dict[str, TaskInstance]) -> Kill | None:
        """Kill a process of a drawn kind, and return the kill.

        :returns: ``None`` without such a process, or if Airflow must first recover from a kill
        """
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
        """Return true if a killed scheduler or triggerer has not yet recovered."""
        newest = [kill for kill in self.kills if time.monotonic() - kill.at < _LONGEST_WAIT]
        return any(kill.recovered is None and not isinstance(kill, TaskKill) for kill in newest)

    def mend(self) -> None:
        """Restart killed parts after some time, and parts that ended by themselves."""
        for part in self._processes.dead():
            self._restarts.setdefault(part, time.monotonic() + 1)
        for part, at in list(self._restarts.items()):
            if time.monotonic() >= at:
                self._processes.start(part)
                del self._restarts[part]

    def watch(self, tasks: dict[str, TaskInstance]) -> None:
        """Check the kills from which Airflow has not yet recovered."""
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
        # Both processes at once, as if a machine died; or only the supervisor of the other process.
        for process in self._random.choice([processes, processes[:1]]):
            kill(process)
        self._restarts["triggerer"] = time.monotonic() + self._random.uniform(0.5, 3)
        # A triggerer without triggers has no work to take over.
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
