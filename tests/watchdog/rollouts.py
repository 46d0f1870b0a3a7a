"""A rollout without Airflow, with the real loop, rules and heartbeat, over HTTP and on the service's clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import FlagRef
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.reconcile._loop import reconcile
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import Abort, Action, RollBack, Wait
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, GuardrailStatus
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat, RolloutSubject, heartbeat, last_heartbeat
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import HeartbeatEnd, VerdictLike

Guardrail = Callable[[float], VerdictLike]
"""The verdict at a percentage."""

_NOT_CHECKED = GuardrailStatus("errors", GuardrailPolicy(inconclusive_limit=1000))


class Deferred(Exception):
    """The task waits. Its process has ended."""

    def __init__(self, until: datetime, state: RolloutState) -> None:
        self.until = until
        self.state = state


class Ended(Exception):
    """The rollout is over."""


def passes(percentage: float) -> VerdictLike:
    return "pass"


def add_key(emulator: Emulator) -> str:
    """Add a separate key for the watchdog, and return it."""
    key = {"key": "ampex_watchdog", "person": "Watchdog", "projects": [emulator.project_id]}
    emulator.load({"keys": [key]})
    return str(key["key"])


def new_flag(emulator: Emulator) -> str:
    fields = {"variants": [{"key": "on"}], "rolloutPercentage": 0, "deployments": ["1"]}
    return str(emulator.create_flag("search", **fields)["id"])


def exposures(emulator: Emulator, flag_id: str) -> list[int]:
    """Return the percentage that users got with each version, oldest first."""
    return emulator.percentages("flags", flag_id)


def actors(emulator: Emulator, flag_id: str) -> set[str]:
    return {version["createdBy"] for version in emulator.versions("flags", flag_id)}


class Rollout:
    """The tasks of a rollout, one after another. Each step is a separate process.

    :param plans: one for each task; the plan of the whole rollout for a single task
    :param write: stores a heartbeat, and returns whether it is stored
    """

    def __init__(
        self,
        base_url: str,
        flag_id: str,
        plans: list[RolloutPlan],
        write: Callable[[Heartbeat], bool],
        guardrail: Guardrail = passes,
    ) -> None:
        self._base_url = base_url
        self._target = FlagRef("flags", id=flag_id)
        self._plans = plans
        self._write = write
        self._guardrail = guardrail
        self._began: datetime | None = None
        self.state: RolloutState | None = None
        self.task = 0
        self.is_stored = False

    @property
    def plan(self) -> RolloutPlan:
        """The plan of the present task."""
        return self._plans[self.task]

    def step(self, *, is_retry: bool = False) -> None:
        """Run the process of the present task until it waits; then the next task.

        :param is_retry: the process before died, or a person cleared the task
        :raises Deferred: when the task waits
        :raises Ended: when the rollout is over
        """
        while True:
            with ManagementClient("ampex_demo", base_url=self._base_url, timeout=5) as client:
                flag = ManagedFlag.find(client, self._target, None)
                self._began = self._began or flag.now
                began = self._began if is_retry or self.task else None
                fresh = RolloutState(began, is_retry, plan=self.plan.as_json(), preflight_owed=True)
                state = fresh if is_retry or self.state is None else self.state
                port = _Port(self, flag)
                reconcile(self.plan, flag, state, port)
            self.state, is_retry = None, False
            if self.task + 1 == len(self._plans):
                raise Ended("finished")
            self.task += 1

    def store(self, beat: Heartbeat) -> None:
        self.is_stored = self._write(beat)

    def verdict(self, percentage: float) -> VerdictLike:
        return self._guardrail(percentage)


class _Port:
    """The interface of the task to the loop."""

    def __init__(self, rollout: Rollout, flag: ManagedFlag) -> None:
        self._rollout = rollout
        self._flag = flag
        self._subject = RolloutSubject(
            "rollout", flag.client.base_url, "flags", flag.id, "search", hold_tag=rollout.plan.hold_tag
        )

    def log(self, text: str) -> None:
        pass

    def take_notes(self, state: RolloutState) -> RolloutState:
        self._flag.notes.clear()
        return state

    def write_heartbeat(self, action: Action, state: RolloutState) -> None:
        plan, flag = self._rollout.plan, self._flag
        self._rollout.store(heartbeat(self._subject, plan, flag.seen, state, action, flag.now))

    def alert_of_holds(self, action: Action, state: RolloutState) -> None:
        pass

    def interruptible(self, action: Action, state: RolloutState) -> AbstractContextManager[None]:
        return nullcontext()

    def recorded_on_error(self, state: RolloutState) -> AbstractContextManager[None]:
        return nullcontext()

    def rollback_guard(self, action: RollBack) -> AbstractContextManager[None]:
        return nullcontext()

    def keep_record(self, state: RolloutState) -> None:
        pass

    def run_guardrails(self, state: RolloutState) -> RolloutState:
        before = state.statuses[0] if state.statuses else _NOT_CHECKED
        verdict, now = self._rollout.verdict(self._flag.seen.exposure.percentage), self._flag.now
        return state.after_checks([before.with_result(verdict, "", None, now)], now)

    def run_preflight(self, state: RolloutState) -> RolloutState:
        return replace(state, preflight_owed=False)

    def request_approval(self, state: RolloutState) -> RolloutState:
        return replace(state, asked_at=self._flag.now)

    def wait(self, action: Wait, state: RolloutState) -> RolloutState:
        self._rollout.state = state
        again = action.until if self._rollout.is_stored else self._flag.now + timedelta(minutes=5)
        raise Deferred(min(action.until, again), state)

    def roll_back(self, action: RollBack, state: RolloutState) -> NoReturn:
        if action.to is not None:
            self._flag.roll_back_to(action.to)
        self._end("rolled back")

    def abort(self, action: Abort, state: RolloutState) -> NoReturn:
        self._end("stopped")

    def _end(self, ended: str) -> NoReturn:
        self._rollout.store(last_heartbeat(self._subject, self._flag.seen, HeartbeatEnd(ended), self._flag.now))
        raise Ended(ended)


def write_to(folder: Path) -> Callable[[Heartbeat], bool]:
    """Return a function that writes a heartbeat into a folder, as a whole."""

    def write(beat: Heartbeat) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / beat.subject.file_name
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(beat.as_json())
        unfinished.replace(file)
        return True

    return write
