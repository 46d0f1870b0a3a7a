"""Kill all of Airflow while guardrails fail, so that only the watchdog can lower the flags (`--watchdog`)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from unittest.mock import patch

from airflow_provider_ampexp.watchdog import _cli as watchdog
from tests.chaos.judge import exposure_of, made_at
from tests.chaos.kinds import WATCHED
from tests.watchdog.rollouts import add_key

if TYPE_CHECKING:
    from tests.chaos.controller import Controller, Rollout

AFTER, POLL = timedelta(minutes=20), timedelta(minutes=5)
CONFIRMED = 5
_MOMENT = timedelta(seconds=30)  # the tolerance for a busy machine, because the emulator's clock uses its time
_BEGINS_WITHIN = 120.0
_ENDS_WITHIN = 180.0


@dataclass
class Round:
    """The results of the rollouts of one kill.

    :param exposures: the exposure of each flag when Airflow died
    :param late: the time from the death, or from a later due step, to the lowering of each flag that had to be lowered
    """

    exposures: list[float] = field(default_factory=list)
    late: list[timedelta] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        slowest = max(self.late, default=None)
        return (
            f"{len(self.exposures)} rollouts, {len(self.late)} of them at 25 % when Airflow died and lowered to "
            f"{CONFIRMED} % by the watchdog; slowest {slowest} (limit {AFTER + POLL}); "
            f"{len(self.violations)} violations"
        )


class WatchdogRounds:
    """Run the rounds, one after another."""

    def __init__(self, controller: Controller, at_a_time: int) -> None:
        self._controller = controller
        self._emulator = controller.emulator
        self._signals = controller.installation.signals
        self._at_a_time = at_a_time
        self._key = add_key(self._emulator)

    def play(self) -> Round:
        """Kill all of Airflow once, run the watchdog, and start Airflow again."""
        shutil.rmtree(self._signals.heartbeats, ignore_errors=True)
        rollouts = [self._controller.begin(WATCHED) for _ in range(self._at_a_time)]
        self._controller.until(lambda: all(self._stands_at(rollout) >= 25 for rollout in rollouts), _BEGINS_WITHIN)
        self._controller.processes.kill_all()
        died = datetime.now(timezone.utc)
        result = Round([self._stands_at(rollout) for rollout in rollouts])
        advanced = self._pass_by()
        for rollout in rollouts:
            self._judge_lowering(rollout, died, result)
        self._emulator.advance(-advanced.total_seconds())
        self._start_again(rollouts, result)
        for rollout in rollouts:
            self._controller.rollouts.remove(rollout)
        return result

    def _pass_by(self) -> timedelta:
        """Run the watchdog every few minutes of the service's clock, until no more step can be late."""
        passes = (AFTER + 3 * POLL) // POLL
        with patch.dict(os.environ, {watchdog.KEY: self._key}):
            for _ in range(passes):
                self._emulator.advance(POLL.total_seconds())
                folder = str(self._signals.heartbeats)
                watchdog.main([folder, "--base-url", self._emulator.base_url, "--after", "20m"])
        return passes * POLL

    def _judge_lowering(self, rollout: Rollout, died: datetime, result: Round) -> None:
        versions = self._emulator.versions("flags", rollout.flag_id)
        if exposure_of(versions[0]) > CONFIRMED:
            result.violations.append(f"{rollout}: the watchdog left the flag at {exposure_of(versions[0]):g} %")
        if versions[0]["createdBy"] != "Watchdog":
            return
        lowered, raised = (datetime.fromtimestamp(made_at(version), timezone.utc) for version in versions[:2])
        late = lowered - max(died, raised + timedelta(seconds=WATCHED.soaks[2] or 0))
        result.late.append(late)
        if late > AFTER + POLL + _MOMENT:
            result.violations.append(f"{rollout}: lowered after {late}")

    def _start_again(self, rollouts: Sequence[Rollout], result: Round) -> None:
        """Start Airflow again. A rollout with a lowered flag must stop. A rollout below 25 % rolls back itself."""
        lowered = {rollout.flag_id: len(self._emulator.versions("flags", rollout.flag_id)) for rollout in rollouts}
        for rollout in rollouts:
            self._signals.grant_outage(rollout.run_id)
        self._controller.processes.start_all()
        self._controller.until(self._controller.installation.is_healthy, _BEGINS_WITHIN)
        self._controller.until(lambda: all(rollout.ended is not None for rollout in rollouts), _ENDS_WITHIN)
        for rollout, exposure in zip(rollouts, result.exposures, strict=True):
            versions = self._emulator.versions("flags", rollout.flag_id)
            if rollout.ended != "failed" or exposure_of(versions[0]) > CONFIRMED:
                result.violations.append(f"{rollout}: ended as {rollout.ended} at {exposure_of(versions[0]):g} %")
            if exposure > CONFIRMED and len(versions) != lowered[rollout.flag_id]:
                result.violations.append(f"{rollout}: Airflow wrote after the watchdog had lowered the flag")

    def _stands_at(self, rollout: Rollout) -> float:
        return exposure_of(self._emulator.versions("flags", rollout.flag_id)[0])


def play_rounds(controller: Controller, rounds: int, at_a_time: int, tell: Callable[[str], None]) -> list[str]:
    """Run rounds, report each of them, and return the violations."""
    stage, violations, began = WatchdogRounds(controller, at_a_time), [], time.monotonic()
    killed = lowered = 0
    for number in range(1, rounds + 1):
        played = stage.play()
        tell(f"  kill {number} of all of Airflow: {played}")
        violations += played.violations
        killed += len(played.exposures)
        lowered += len(played.late)
    tell(
        f"{rounds} kills of all of Airflow with {killed} rollouts: {lowered} flags lowered by the watchdog, "
        f"{len(violations)} violations, {(time.monotonic() - began) / 60:.1f} minutes."
    )
    return violations
