"""What the tests of the ramp share: flags, what became of them, and soaks of an hour that are over in a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from airflow.sdk.definitions import dag as dag_module

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.ramp import AmplitudeRampRolloutOperator

MOST_SOAKS = 40
LONGEST_SOAK = 60.0  # of a broken trigger, in seconds of this machine
PLAN: dict[str, Any] = {"stages": [1, 25, 100], "soak": "1h", "poll_interval": 0.1}
ON: list[dict[str, Any]] = [{"key": "on"}]


def flag(emulator: Emulator, key: str = "search", **fields: Any) -> str:
    """A new flag, disabled and at 0 % unless told otherwise. Returns its id."""
    return str(emulator.create_flag(key, **{"variants": ON, "rolloutPercentage": 0, **fields})["id"])


def history(emulator: Emulator, object_id: str, kind: str = "flags") -> list[tuple[int, str]]:
    """What users got, and by whom, from the first version on."""
    found = []
    for version in reversed(emulator.versions(kind, object_id)):
        config = version["flagConfig"]
        found.append((config["rolloutPercentage"] if config["enabled"] else 0, version["createdBy"]))
    return found


def exposures(emulator: Emulator, object_id: str, kind: str = "flags") -> list[int]:
    """What users got, from the first version on."""
    return [percentage for percentage, _ in history(emulator, object_id, kind)]


def began(emulator: Emulator, object_id: str, kind: str = "flags") -> list[datetime]:
    """When each version was made, from the first on, by the service's clock."""
    versions = reversed(emulator.versions(kind, object_id))
    return [datetime.fromisoformat(one["createdAt"].replace("Z", "+00:00")) for one in versions]


def writes(emulator: Emulator) -> int:
    """How many requests tried to change something."""
    return sum(one["method"] != "GET" for one in emulator.request_log())


def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of the log that ramps write from now on."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.Logger("ramp")
    logger.addHandler(handler)
    monkeypatch.setattr(AmplitudeRampRolloutOperator, "log", logger)
    return lines


class Failures:
    """Why tasks failed."""

    def __init__(self) -> None:
        self._errors: dict[str, BaseException] = {}
        self.callback = {"on_failure_callback": self._note}

    def said(self, task_id: str) -> str:
        """What the error said that a task failed with."""
        return str(self._errors[task_id])

    def _note(self, context: Any) -> None:
        self._errors[context["ti"].task_id] = context["exception"]


class Soaks:
    """Takes the triggerer's place in `dag.test`: what happens while a task is deferred, and what its trigger asks.

    Unless told otherwise, each soak is over in a moment: the service's clock is put to its end.
    """

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watches: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self._emulator = emulator
        self._happens: list[Callable[[], object] | None] = []
        self._run_trigger = dag_module._run_inline_trigger
        monkeypatch.setattr(dag_module, "_run_inline_trigger", self._soak)

    def will(self, *happens: Callable[[], object] | None) -> None:
        """What happens in the next soaks in place of their ending, one after another; ``None`` for their ending."""
        self._happens.extend(happens)

    def end(self) -> None:
        """Put the service's clock to the end of the present soak."""
        until = datetime.fromisoformat(self.watches[-1]["until"])
        self._emulator.advance(max(0, (until - self.now()).total_seconds()) + 1)

    @staticmethod
    def hours_after(moment: datetime, hours: int) -> str:
        """As a watch says it."""
        return (moment + timedelta(hours=hours)).isoformat()

    def now(self) -> datetime:
        """The service's clock, to the second."""
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
        event = self._run_trigger(trigger, task)
        self.requests += [one["route"] for one in self._emulator.request_log()[before:]]
        return event


def _limited(run: Callable[[], AsyncIterator[Any]]) -> Callable[[], AsyncIterator[Any]]:
    async def limited() -> AsyncIterator[Any]:
        yield await asyncio.wait_for(anext(run()), LONGEST_SOAK)

    return limited
