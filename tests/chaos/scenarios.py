"""Scenarios that kills do not cover: outages of a certain kind at a certain time, one after another, after all kills.

There are no other faults during a scenario, so each effect has one cause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.chaos.kinds import SCENARIO_KINDS

if TYPE_CHECKING:
    from tests.chaos.controller import Controller, Rollout

AWAY = 3.0  # seconds of an outage
BETWEEN = 2.0
TRICKLES = 10.0  # seconds for which responses trickle, one byte each half second
_HANGS = 10.0  # seconds, at least, for which the api-server hangs: twice the limit of a rollback
_AT_ONCE = 3
_BEGINS_WITHIN = 60.0
_HIT_WITHIN = 15.0
_ENDS_WITHIN = 120.0


@dataclass
class Scenario:
    """The result of one scenario.

    :param struck: the number of affected requests, look-ups or rollouts
    """

    name: str
    rollouts: Sequence[Rollout]
    struck: int = 0
    is_over: bool = True

    def problems(self) -> list[str]:
        """Return the reasons for which the result is not valid."""
        found = [] if self.struck else [f"{self.name}: it hit nothing, so it shows nothing"]
        return found if self.is_over else [*found, f"{self.name}: not over {_ENDS_WITHIN:g} s after it"]


class Scenarios:
    """Run all scenarios."""

    def __init__(self, controller: Controller) -> None:
        self.played: list[Scenario] = []
        self._controller = controller
        self._emulator = controller.emulator
        self._signals = controller.installation.signals

    def run(self, deadline: float) -> bool:
        """Run all scenarios, and return true if they began before ``deadline``, on this machine's monotonic clock."""
        self._controller.clear_faults()
        for play in (
            self.api_server_killed,
            self.api_server_hangs,
            self.secrets_backend_away,
            self.refused,
            self.foreign_raise,
            self.trickling_bodies,
        ):
            if time.monotonic() > deadline or not self._controller.until(self._controller.installation.is_healthy, 60):
                return False
            scenario = play()
            scenario.is_over = self._controller.until(lambda of=scenario: _all_ended(of.rollouts), _ENDS_WITHIN)
            self.played.append(scenario)
        return True

    def api_server_killed(self) -> Scenario:
        """Kill the api-server when a check fails. It restarts a second later."""
        return self._when_the_check_fails("api-server killed when a check fails", self._kill_api_server)

    def api_server_hangs(self) -> Scenario:
        """Suspend the api-server when a check fails, so that it runs but does not answer."""
        return self._when_the_check_fails("api-server hangs when a check fails", self._let_api_server_hang)

    def secrets_backend_away(self) -> Scenario:
        """Let the secrets backend raise, and later return nothing, for 3 seconds each from the first look-up on.

        The outage begins just before a task resumes, so that a worker looks the connection up. A triggerer that waits
        would not.
        """
        rollouts = self._under_way("vault")
        for how in ("raises", "returns nothing"):
            self._until_one_resumes(rollouts)
            before = self._signals.asked_while_away()
            with self._signals.secrets_away(how):
                self._controller.until(lambda asked=before: self._signals.asked_while_away() > asked, _HIT_WITHIN)
                self._pass(AWAY)
            self._pass(BETWEEN)
        return Scenario("secrets backend away for 3 s, twice", rollouts, self._signals.asked_while_away())

    def refused(self) -> Scenario:
        """Let the service refuse the key, and later a gateway answer an HTML 403, each for 3 s from the first hit."""
        rollouts, struck = self._under_way("refused"), 0
        for fault in ({"kind": "status", "status": 401}, {"kind": "html", "status": 403}):
            struck += self._spoil(AWAY, **fault)
            self._pass(BETWEEN)
        return Scenario("401, then an HTML 403, for 3 s each", rollouts, struck)

    def foreign_raise(self) -> Scenario:
        """Raise with the rollouts' own key as another actor, in the soak of 5 %, to the next stage or a later one."""
        wanted = {"foreign-next": 25, "foreign-later": 100, "foreign-checked": 25}
        rollouts = [self._controller.begin(SCENARIO_KINDS[name]) for name in wanted]

        def raise_those_at_5() -> bool:
            for rollout in rollouts:
                if not rollout.foreign_versions and self._exposure(rollout) == 5:
                    self._raise(rollout, wanted[rollout.kind.name])
            return all(rollout.foreign_versions for rollout in rollouts)

        self._controller.until(raise_those_at_5, _BEGINS_WITHIN)
        hits = sum(len(rollout.foreign_versions) for rollout in rollouts)
        return Scenario("foreign raise with the same key in a soak", rollouts, hits)

    def trickling_bodies(self) -> Scenario:
        """Let each response to a read trickle for 10 seconds, a byte each half second, so that no read times out."""
        rollouts = self._under_way("trickled")
        struck = self._spoil(TRICKLES, kind="trickle", methods=["GET"], seconds=0.5)
        return Scenario("answers trickle for 10 s", rollouts, struck)

    def _when_the_check_fails(self, name: str, strike: Callable[[Rollout], None]) -> Scenario:
        rollout = self._controller.begin(SCENARIO_KINDS["api-server-gone"])
        is_asked = self._controller.until(lambda: self._signals.wants_outage(rollout.run_id), _BEGINS_WITHIN)
        if is_asked:
            strike(rollout)
        return Scenario(name, [rollout], int(is_asked))

    def _kill_api_server(self, rollout: Rollout) -> None:
        self._controller.processes.kill("api-server")
        self._signals.grant_outage(rollout.run_id)

    def _let_api_server_hang(self, rollout: Rollout) -> None:
        with self._controller.processes.suspended("api-server"):
            self._signals.grant_outage(rollout.run_id)
            self._pass(_HANGS)

    def _under_way(self, name: str) -> list[Rollout]:
        rollouts = [self._controller.begin(SCENARIO_KINDS[name]) for _ in range(_AT_ONCE)]
        self._controller.until(lambda: all(self._exposure(rollout) > 0 for rollout in rollouts), _BEGINS_WITHIN)
        return rollouts

    def _until_one_resumes(self, rollouts: Sequence[Rollout]) -> None:
        """Return when Airflow has the event of a soak's end, and has not yet resumed the task."""
        runs = {rollout.run_id for rollout in rollouts}

        def one_resumes() -> bool:
            tasks = self._controller.look()
            return any(tasks[run].state in ("scheduled", "queued") for run in runs & set(tasks))

        self._controller.until(one_resumes, _BEGINS_WITHIN)

    def _spoil(self, lasts: float, **fault: Any) -> int:
        """Apply a fault to all matching requests for some seconds from the first on, and return their number."""
        self._emulator.fault(times=None, **fault)
        self._controller.until(lambda: self._emulator.faults()[0]["struck"] > 0, _HIT_WITHIN)
        self._pass(lasts)
        return self._controller.clear_faults()

    def _pass(self, seconds: float) -> None:
        self._controller.until(lambda: False, seconds)

    def _exposure(self, rollout: Rollout) -> float:
        flag = self._emulator.flag(rollout.flag_id)
        return float(flag["rolloutPercentage"]) if flag["enabled"] else 0.0

    def _raise(self, rollout: Rollout, to: int) -> None:
        """Set a percentage with the key of the rollouts."""
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self._emulator.base_url}/api/1/flags/{rollout.flag_id}"
            headers = {"Authorization": f"Bearer {self._emulator.api_key}"}
            session.patch(url, json={"rolloutPercentage": to}, headers=headers, timeout=10).raise_for_status()
        newest = self._emulator.versions("flags", rollout.flag_id)
        written = next(version for version in newest if version["flagConfig"]["rolloutPercentage"] == to)
        rollout.foreign_versions.add(int(written["version"]))


def _all_ended(rollouts: Sequence[Rollout]) -> bool:
    return all(rollout.ended is not None for rollout in rollouts)
