"""Start, find, kill and restart the processes of a real Airflow, by their ids.

This process adopts orphans. So each process that it started stays below it, also after kills of the processes between,
and no other process is ever killed.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.scratch import airflow

_PR_SET_CHILD_SUBREAPER = 36
# The names of processes that run a task, and of their supervisors (of LocalExecutor and of Celery).
_TASK = re.compile(r"airflow worker -- ([0-9a-f-]{36})")
_SUPERVISOR = re.compile(r"airflow (?:worker -- LocalExecutor|supervisor): ([0-9a-f-]{36})")
_IDLE = "airflow worker -- LocalExecutor: <idle>"


@dataclass(frozen=True)
class Busy:
    """A process that runs or supervises a task instance."""

    process: psutil.Process
    task_instance: str


def adopt_orphans() -> None:
    """Let processes whose parent is killed become children of this one."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "This system does not hand orphans to whoever wants them (Linux does).")


class Processes:
    """The parts of one Airflow. A context manager, which stops all processes at its end."""

    def __init__(self, parts: dict[str, list[str]], env: dict[str, str], logs: Path) -> None:
        self._parts = parts
        self._env = env
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._others: set[int] = set()

    def __enter__(self) -> Processes:
        self._others = {process.pid for process in psutil.Process().children()}
        for part in self._parts:
            self.start(part)
        return self

    def __exit__(self, *_: object) -> None:
        mine = list(self._running.values())
        for process in mine:
            process.terminate()
        psutil.wait_procs([psutil.Process(process.pid) for process in mine if process.poll() is None], timeout=3)
        # Supervisors and tasks are in sessions of their own, so they are found as descendants.
        for process in self._tree():
            kill(process)
        for item in mine:
            item.wait()
        self.reap()

    def start(self, part: str) -> None:
        """Start a part, also after a kill."""
        with (self._logs / f"{part}.log").open("ab") as log:
            self._running[part] = subprocess.Popen(
                airflow(*self._parts[part]),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, part: str) -> None:
        """Kill a part and all below it."""
        for process in self.of(part):
            kill(process)

    def kill_all(self) -> None:
        """Kill every part and every task at once."""
        while found := [process for process in self._tree() if _title(process)]:
            for process in found:
                kill(process)
            psutil.wait_procs(found, timeout=3)
            self.reap()

    def start_all(self) -> None:
        """Start all parts again."""
        for part in self.dead():
            self.start(part)

    @contextmanager
    def suspended(self, part: str) -> Iterator[None]:
        """Suspend a part, so that it runs but does not answer."""
        found = self.of(part)
        for process in found:
            process.suspend()
        try:
            yield
        finally:
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def has(self, part: str) -> bool:
        """Return true if this Airflow has a part of that name."""
        return part in self._parts

    def of(self, part: str) -> list[psutil.Process]:
        """Return the process of a part, and then its descendants; empty if the part does not run."""
        process = self._running[part]
        if process.poll() is not None:
            return []
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(process.pid)
            return [found, *found.children(recursive=True)]
        return []

    def dead(self) -> list[str]:
        """Return the parts that do not run."""
        return [part for part, process in self._running.items() if process.poll() is not None]

    def tasks(self) -> list[Busy]:
        """Return the processes that run a task's code."""
        return list(self._busy(_TASK))

    def supervisors(self) -> list[Busy]:
        """Return the supervisors of tasks: the busy workers of LocalExecutor, or the processes of a Celery worker.

        An idle Celery process keeps the name of its last task instance, so only a process with a task below it counts.
        """
        parents = {_parent(task.process) for task in self.tasks()}
        return [busy for busy in self._busy(_SUPERVISOR) if busy.process.pid in parents]

    def sweep(self) -> None:
        """Stop idle workers of a killed scheduler, because they get no more work. Busy workers continue."""
        self.reap()
        for process in psutil.Process().children():
            if _title(process) == _IDLE:
                kill(process)

    def reap(self) -> None:
        """Reap the orphans that have ended."""
        known = {process.pid for process in self._running.values()}
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, ChildProcessError):
                if process.pid not in known and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)

    def _busy(self, pattern: re.Pattern[str]) -> Iterator[Busy]:
        for process in self._tree():
            found = pattern.fullmatch(_title(process))
            if found:
                yield Busy(process, found[1])

    def _tree(self) -> list[psutil.Process]:
        """Return Airflow's parts and all their descendants, also orphans."""
        roots = [child for child in psutil.Process().children() if child.pid not in self._others]
        below = []
        for root in roots:
            with suppress(psutil.NoSuchProcess):
                below += root.children(recursive=True)
        return [*roots, *below]


def kill(process: psutil.Process) -> None:
    """Kill -9 a process. psutil checks that the id still belongs to the same process."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def until(condition: object, seconds: float) -> bool:
    """Wait until a condition is true, and return false if it is not true in time."""
    assert callable(condition)
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.3)
    return False


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None
