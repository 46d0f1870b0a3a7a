"""Simulate 72 hours of a running rollout and of a watchdog, on the service's clock and from a seed.

The steps of the rollout come late. Workers die, and their retries come later. The DAG is paused, a person holds or
clears the rollout, edits the flag, or answers an approval after days. The store of the heartbeats fails. The clocks of
both machines are wrong by minutes, and proxies change the ``Date`` of responses. No step is later than 55 minutes,
except under the hold tag.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.client import _service_clock as service_clock
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, ApprovalResponse
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat
from airflow_provider_ampexp.rollout._vocabulary import VerdictLike
from airflow_provider_ampexp.watchdog import _cli as cli
from tests.watchdog.rollouts import Deferred, Ended, Rollout, add_key, new_flag, write_to

MINUTE, HOUR = 60.0, 3600.0
LENGTH = 72 * HOUR
_SKEW = 5 * MINUTE
_RETRY_DELAYS = (30.0, 60.0, 120.0, 240.0, 480.0)


class Killed(BaseException):
    """The worker was killed."""


class Days:
    """One rollout, and its watchdog. ``codes`` counts the exit codes, and ``events`` counts the events."""

    def __init__(self, seed: int, emulator: Emulator, folder: Path, patch: pytest.MonkeyPatch) -> None:
        emulator.reset()
        add_key(emulator)
        self.random = Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self.codes: Counter[int] = Counter()
        self.events: Counter[str] = Counter()
        self._emulator, self._folder = emulator, folder
        self._flag_id = new_flag(emulator)
        self._store = write_to(folder)
        self._rollout = Rollout(emulator.base_url, self._flag_id, self._plans(), self._write, self._verdict)
        self._seconds = 0.0
        self._steps = 0
        self._deaths = 0
        self._kill_at = 0
        self._paused_until = self._store_back = 0.0
        self._skew = 0.0
        self._is_over = False
        self._fails_after = self.random.choice([1e9, 1e9, self.random.uniform(0, LENGTH)])
        self._patch(patch)

    def run(self) -> None:
        """Let the 72 hours pass."""
        self._at(0, lambda: self._step(self._steps))
        self._at(MINUTE, self._look)
        for happens in (self._incident, self._clear, self._edit, self._fail_store, self._pause, self._pause):
            self._at(self.random.uniform(0, LENGTH), happens)
        if self.random.random() < 0.2:
            self._at(self.random.uniform(0, LENGTH), self._take_over)
        while self._queue and self._queue[0][0] < LENGTH:
            at, _, happens = heapq.heappop(self._queue)
            self._emulator.advance(max(0.0, at - self._seconds))
            self._seconds = max(self._seconds, at)
            happens()

    # -- the rollout -------------------------------------------------------------------------------------------------

    def _plans(self) -> list[RolloutPlan]:
        random = self.random
        check_every = random.choice([None, "30m", "1h", "3h", "5h"])
        plan = RolloutPlan(
            [1, 5, 25, 50, 100],
            soak=random.choice(["6h", "12h", "18h"]),
            check_every=check_every,
            guardrails=[passes_always],
            rollback=random.choice(["start", "previous", "off"]),
        )
        if random.random() < 0.5:
            return [plan]
        asks = replace(plan, approval=ApprovalPolicy(50), soak=None)
        stages = {stage: replace(plan, only=stage, soak=None) for stage in (1, 5, 25, 50, 100)}
        self._at(random.uniform(0, LENGTH), self._approve)
        return [stages[1], stages[5], stages[25], asks, stages[50], stages[100]]

    def _verdict(self, percentage: float) -> VerdictLike:
        if self._seconds > self._fails_after:
            return "fail"
        return "inconclusive" if self.random.random() < 0.1 else "pass"

    def _write(self, beat: Heartbeat) -> bool:
        return self._seconds >= self._store_back and self._store(beat)

    def _step(self, step: int, *, is_retry: bool = False) -> None:
        if step != self._steps or self._is_over:
            return  # another event has moved this step
        if self._seconds < self._paused_until:
            return self._next(self._paused_until + self.random.uniform(1, MINUTE), is_retry=is_retry)
        self._skew = self.random.uniform(-_SKEW, _SKEW)
        if self._deaths < len(_RETRY_DELAYS) and self.random.random() < 0.3:
            self._kill_at = self.random.randint(1, 8)
        try:
            self._rollout.step(is_retry=is_retry)
        except Deferred as wait:
            self._deaths = 0
            left = (wait.until - datetime.now(timezone.utc)).total_seconds() - self._seconds
            late = self.random.choice([1.0, 5.0, self.random.uniform(0, 10 * MINUTE)])
            self._next(self._seconds + max(0.0, left) + late)
        except Killed:
            self.events["death"] += 1
            self._next(self._seconds + _RETRY_DELAYS[self._deaths], is_retry=True)
            self._deaths += 1
        except Ended as end:
            self.events[str(end)] += 1
            self._is_over = True
        finally:
            self._kill_at, self._skew = 0, 0.0

    def _next(self, at: float, *, is_retry: bool = False) -> None:
        self._steps += 1
        step = self._steps
        self._at(at, lambda: self._step(step, is_retry=is_retry))

    # -- the watchdog ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._skew = self.random.uniform(-_SKEW, _SKEW)
        self.codes[cli.main([str(self._folder), "--base-url", self._emulator.base_url])] += 1
        self._skew = 0.0
        self._at(self._seconds + self.random.uniform(10 * MINUTE, 30 * MINUTE), self._look)

    # -- the events --------------------------------------------------------------------------------------------------

    def _incident(self) -> None:
        """Hold the rollout with the tag, and pause the DAG for hours; then unpause the DAG, and remove the tag."""
        self.events["incident"] += 1
        length = self.random.uniform(2 * HOUR, 30 * HOUR)
        self._emulator.edit("flags", self._flag_id, tags=["rollout-hold"])
        self._next(self._seconds + 5)
        self._at(self._seconds + MINUTE, lambda: self._pause(length))

        def ends() -> None:
            self._emulator.edit("flags", self._flag_id, tags=[])
            self._next(self._seconds + 5)

        self._at(self._seconds + length + 20 * MINUTE, ends)

    def _pause(self, length: float | None = None) -> None:
        self.events["pause"] += 1
        length = self.random.uniform(MINUTE, 20 * MINUTE) if length is None else length
        self._paused_until = max(self._paused_until, self._seconds + length)

    def _clear(self) -> None:
        """Clear the task as a person, so that its state is lost."""
        self.events["clear"] += 1
        self._rollout.state = None
        self._next(self._seconds + self.random.uniform(1, 5 * MINUTE))

    def _edit(self) -> None:
        self.events["edit"] += 1
        self._emulator.edit("flags", self._flag_id, description=f"{self.random.random()}")

    def _take_over(self) -> None:
        """Set a percentage as a person, so that the rollout stops."""
        self.events["another actor"] += 1
        self._emulator.edit("flags", self._flag_id, rolloutPercentage=self.random.choice([0, 5, 25, 33, 50]))
        self._next(self._seconds + MINUTE)

    def _fail_store(self) -> None:
        self.events["store fails"] += 1
        self._store_back = self._seconds + self.random.uniform(MINUTE, 15 * MINUTE)

    def _approve(self) -> None:
        self.events["approval"] += 1
        if self._rollout.plan.approval is None or self._rollout.state is None:
            return self._at(self._seconds + HOUR, self._approve)
        self._rollout.state = replace(self._rollout.state, response=ApprovalResponse(True, "ana"))
        self._next(self._seconds + 2)

    # -- time and requests -------------------------------------------------------------------------------------------

    def _at(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (seconds, len(self._queue) + self.random.randrange(1 << 40), happens))

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        days, send = self, requests.Session.send

        class Skewed(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(seconds=days._skew)

        def sent(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
            if "/_emulator/" in str(request.url) or not days._kill_at:
                return send(session, request, **how)
            days._kill_at -= 1
            is_last = days._kill_at == 0
            if is_last and days.random.random() < 0.5:
                raise Killed
            response = send(session, request, **how)
            if is_last:
                raise Killed
            return response

        patch.setattr(service_clock, "datetime", Skewed)
        patch.setattr(requests.Session, "send", sent)


def passes_always(percentage: float) -> VerdictLike:
    """Pass, in place of a guardrail. The rollout of the simulation has its own verdicts."""
    return "pass"
