"""A rollout whose guardrail fails, and whose processes all die: the watchdog lowers the flag in time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.watchdog import _cli as cli
from tests.watchdog.rollouts import add_key, exposures, new_flag

KILLS = int(os.environ.get("AMPEXP_WATCHDOG_KILLS", "4"))
AFTER, POLL = timedelta(hours=1), timedelta(minutes=5)
CONFIRMED = 5
_ROOT = Path(__file__).resolve().parents[2]
_MOMENT = timedelta(seconds=30)  # the tolerance for a busy machine, because the emulator's clock uses its time


@dataclass
class Death:
    """The result of a kill for a flag.

    :param exposure: the exposure when the process died
    :param late: the time from the death, or from the end of the soak if that is later, to the lowering
    """

    exposure: int
    last: int
    late: timedelta


class Scene:
    """A flag, its rollout in a separate process, and the service's clock."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        emulator.reset()
        add_key(emulator)
        self._emulator, self._folder = emulator, folder
        folder.mkdir()
        self._flag_id = new_flag(emulator)
        self._advanced = timedelta(0)

    def requests_of_a_whole_rollout(self) -> int:
        return int(self._run("0", "before")[-1])

    def kill(self, request: int, when: str) -> Death:
        """Let the process die, and run the watchdog until there is nothing to lower."""
        self._run(str(request), when)
        died, exposure = self._now, exposures(self._emulator, self._flag_id)[-1]
        pause = POLL if exposure > CONFIRMED else AFTER + 2 * POLL  # otherwise one pass is enough
        for _ in range(2 * (AFTER // POLL) if exposure > CONFIRMED else 1):
            self._advance(pause)
            code = cli.main([str(self._folder), "--base-url", self._emulator.base_url])
            if not any(self._folder.iterdir()):  # died before its first heartbeat, so before its first raise
                assert (code, exposure) == (4, 0)
                break
            assert code in (0, 1, 3)
            if code == 1:
                break
        last = exposures(self._emulator, self._flag_id)[-1]
        lowered = _time(self._emulator.versions("flags", self._flag_id)[0]["createdAt"])
        return Death(exposure, last, max(timedelta(0), lowered - max(died, self._soak_ended(exposure))))

    @property
    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + self._advanced

    def _advance(self, length: timedelta) -> None:
        self._emulator.advance(length.total_seconds())
        self._advanced += length

    def _soak_ended(self, exposure: int) -> datetime:
        versions = self._emulator.versions("flags", self._flag_id)
        at = [_time(made["createdAt"]) for made in versions if made["flagConfig"]["rolloutPercentage"] == exposure]
        return min(at) + timedelta(hours=1)

    def _run(self, request: str, when: str) -> list[str]:
        """Run the process to its end. Each wait ends at once."""
        words = [self._emulator.base_url, self._flag_id, str(self._folder), request, when]
        command = [sys.executable, "-m", "tests.watchdog.victim", *words]
        said = []
        with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if "T" in line:
                    until = datetime.fromisoformat(line.strip())
                    self._advance(max(timedelta(0), until - self._now) + timedelta(seconds=1))
                    process.stdin.write("\n")
                    process.stdin.flush()
        return said


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_after_a_kill_the_flag_is_back_in_time(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total = Scene(emulator, tmp_path / "whole").requests_of_a_whole_rollout()
    points = [(request, when) for request in range(1, total + 1) for when in ("before", "after")]
    deaths = []
    for count in range(KILLS):
        # The requests from the last one, at 25 %, to the first one, in equal steps.
        request, when = points[-1 - count * len(points) // KILLS % len(points)]
        deaths.append(Scene(emulator, tmp_path / str(count)).kill(request, when))
        assert deaths[-1].last <= CONFIRMED, (request, when)
    exposed = [death for death in deaths if death.exposure > CONFIRMED]
    assert all(death.late <= AFTER + POLL + _MOMENT for death in exposed), exposed
    with capsys.disabled():
        slowest = max((death.late for death in exposed), default=timedelta(0))
        print(
            f"\n{KILLS} kills, {len(exposed)} of them at 25 %: {KILLS} flags are at {CONFIRMED} % or below. "
            f"Slowest: {slowest} after the death or the end of the soak (limit {AFTER + POLL})."
        )
    assert exposed
