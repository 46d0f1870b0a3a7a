"""Helpers for the tests of the ramp: flags, their versions, and soaks of an hour that end at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import pytest
import requests
from airflow.sdk import DAG
from airflow.sdk.definitions import dag as dag_module
from airflow_runs import Run

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.base import RolloutOperator

MOST_SOAKS = 40
LONGEST_SOAK = 60.0  # seconds on this machine, after which a trigger counts as broken
PLAN: dict[str, Any] = {"stages": [1, 25, 100], "soak": "1h", "poll_interval": 0.1}
# Airflow 3.3 has a state store, which a task can read after the death of its process.
HAS_TASK_STATE = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)
# Three retries without a delay, so that a test notices an unwanted retry and does not wait for it.
RETRIED: dict[str, Any] = {"retries": 3, "retry_delay": 0}
ON: list[dict[str, Any]] = [{"key": "on"}]


def flag(emulator: Emulator, key: str = "search", **fields: Any) -> str:
    """Create a flag, by default disabled and at 0 %, and return its id."""
    return str(
        emulator.create_flag(key, **{"variants": ON, "rolloutPercentage": 0, "deployments": ["1"], **fields})["id"]
    )


def history(emulator: Emulator, object_id: str, kind: str = "flags") -> list[tuple[int, str]]:
    """Return the percentage that users got and the author of each version, oldest first."""
    found = []
    for item in reversed(emulator.versions(kind, object_id)):
        config = item["flagConfig"]
        found.append((config["rolloutPercentage"] if config["enabled"] else 0, item["createdBy"]))
    return found


def exposures(emulator: Emulator, object_id: str, kind: str = "flags") -> list[int]:
    """Return the percentage that users got with each version, oldest first."""
    return [percentage for percentage, _ in history(emulator, object_id, kind)]


def began(emulator: Emulator, object_id: str, kind: str = "flags") -> list[datetime]:
    """Return the time of each version on the service's clock, oldest first."""
    versions = reversed(emulator.versions(kind, object_id))
    return [datetime.fromisoformat(version["createdAt"].replace("Z", "+00:00")) for version in versions]


def writes(emulator: Emulator) -> int:
    """Return the number of requests that write."""
    return sum(request["method"] != "GET" for request in emulator.request_log())


def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the log lines of ramps from now on."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.Logger("ramp")
    logger.addHandler(handler)
    monkeypatch.setattr(RolloutOperator, "log", logger)
    return lines


class Failures:
    """The errors of failed tasks."""

    def __init__(self) -> None:
        self._errors: dict[str, BaseException] = {}
        self.callback = {"on_failure_callback": self._note}

    def said(self, task_id: str) -> str:
        """Return the message of the error with which a task failed."""
        return str(self._errors[task_id])

    def _note(self, context: Any) -> None:
        self._errors[context["ti"].task_id] = context["exception"]


class Soaks:
    """Replace the triggerer in `dag.test`, define the events of a deferral, and record the requests of its trigger.

    By default each soak ends at once, because the service's clock is set to its end.
    """

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watches: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.is_soaking = False
        self._emulator = emulator
        self._happens: list[Callable[[], object] | None] = []
        self._run_trigger = dag_module._run_inline_trigger
        monkeypatch.setattr(dag_module, "_run_inline_trigger", self._soak)

    def will(self, *happens: Callable[[], object] | None) -> None:
        """Set the event of each of the next soaks, one after another; ``None`` for the end of the soak."""
        self._happens.extend(happens)

    def end(self) -> None:
        """Set the service's clock to the end of the present soak."""
        until = datetime.fromisoformat(self.watches[-1]["until"])
        self._emulator.advance(max(0, (until - self.now()).total_seconds()) + 1)

    @staticmethod
    def hours_after(moment: datetime, hours: int) -> str:
        """Return a time in the format of a watch."""
        return (moment + timedelta(hours=hours)).isoformat()

    def now(self) -> datetime:
        """Return the time on the service's clock, to the second."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self._emulator.base_url}/_emulator/requests", timeout=30)
        return parsedate_to_datetime(answer.headers["Date"]).astimezone(timezone.utc)

    def _soak(self, trigger: Any, task: Any) -> Any:
        self.watches.append(trigger.watch)
        if len(self.watches) > MOST_SOAKS:
            pytest.fail(f"It is deferred for ever: {self.watches[-1]}")
        happens = self._happens.pop(0) if self._happens else None
        (happens or self.end)()
        before, trigger.run = len(self._emulator.request_log()), _limited(trigger.run)
        self.is_soaking = True
        event = self._run_trigger(trigger, task)
        self.is_soaking = False
        self.requests += [request["route"] for request in self._emulator.request_log()[before:]]
        return event


class Deaths:
    """Kill a worker at one of its requests, before the request is sent or after it was carried out.

    Triggers are not killed.
    """

    def __init__(self, soaks: Soaks, monkeypatch: pytest.MonkeyPatch) -> None:
        self._soaks = soaks
        self._left = 0
        self._is_done_first = False
        self._send = requests.Session.send
        monkeypatch.setattr(requests.Session, "send", lambda *them, **how: self._sent(*them, **how))

    def at(self, place: int, *, done: bool) -> None:
        """Kill the worker at a later request.

        :param place: the number of the request; 1 is the next one
        :param done: whether the request is carried out before the death
        """
        self._left, self._is_done_first = place, done

    def _sent(self, session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        # The included cohorts are read in a separate thread, which SystemExit does not leave.
        url = str(request.url)
        counts = "/_emulator/" not in url and not url.endswith("/cohorts")
        if counts and not self._soaks.is_soaking and self._left > 0:
            self._left -= 1
            if self._left == 0:
                if self._is_done_first:
                    self._send(session, request, **how)
                raise SystemExit("killed")
        return self._send(session, request, **how)


def clear(ran: Run, dag: DAG) -> dict[str, str]:
    """Clear the tasks of a run as a person, run them again, and return their states."""
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.session import create_session

    with create_session() as session:
        tis = ran._run.get_task_instances(session=session)
        clear_task_instances(tis, session)
        session.commit()
        for ti in tis:
            ti.try_number += 1
            ti.state = "scheduled"
        session.commit()
        for ti in tis:
            dag_module._run_task(ti=ti, task=dag.get_task(ti.task_id), run_triggerer=True)
    with create_session() as session:
        return {ti.task_id: str(ti.state) for ti in ran._run.get_task_instances(session=session)}


def _limited(run: Callable[[], AsyncIterator[Any]]) -> Callable[[], AsyncIterator[Any]]:
    async def limited() -> AsyncIterator[Any]:
        yield await asyncio.wait_for(anext(run()), LONGEST_SOAK)

    return limited
