"""The timeline of a rollout, printed during the rollout.

The percentages come from the emulator's version history. The verdicts of the guardrails come from Airflow's log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airflow_provider_ampexp.emulator.control import Emulator

# A log line of the operator: "Guardrail at 25 %: checkout errors (fail 1 of 1, value 6.2): 6.2 is more than ..."
_VERDICT = re.compile(r"Guardrail at (?P<percentage>\d+) %: (?P<name>.+?) \((?P<verdict>\w+)[^)]*\): (?P<why>.*)")


@dataclass(frozen=True)
class Verdict:
    """The verdict of a guardrail, with its time."""

    at: datetime
    percentage: int
    name: str
    verdict: str
    why: str


class Timeline:
    """Print each change of the flag, and each verdict of a guardrail, once.

    :param emulator: the service that has the flag
    :param flag_key: the key of the flag
    :param stages: the percentages of the rollout
    :param log: Airflow's log, as JSON lines
    """

    def __init__(self, emulator: Emulator, flag_key: str, stages: list[int], log: Path) -> None:
        self.verdicts: list[Verdict] = []
        self.reached: list[int] = [0]  # the percentages that users got, in order
        self._emulator = emulator
        self._flag_key = flag_key
        self._stages = stages
        self._log = log
        self._shown = 0
        self._included: list[str] = []
        self._read = 0
        print("time (UTC)  what                users get it                     by        requests so far")

    @property
    def flag(self) -> dict | None:
        """The present flag; ``None`` before its creation."""
        return next((stored for stored in self._emulator.dump()["flags"] if stored["key"] == self._flag_key), None)

    def show_new(self) -> list[int]:
        """Print the events since the last call, and return the percentages that users got since then."""
        before = len(self.reached)
        # Read the versions first. The log then has all lines that were written before these versions.
        events = [*self._changes(), *self._inclusions(), *self._said()]
        for at, line in sorted(events, key=lambda event: event[0]):
            print(f"{at:%H:%M:%S}    {line}", flush=True)
        return self.reached[before:]

    def _changes(self) -> Iterator[tuple[datetime, str]]:
        flag = self.flag
        for version in reversed(self._emulator.versions("flags", flag["id"]) if flag else []):
            if version["version"] > self._shown:
                self._shown = version["version"]
                config = version["flagConfig"]
                percentage = config["rolloutPercentage"] if config["enabled"] else 0
                what, lost = (
                    self._what(version["version"], percentage, config["enabled"]),
                    self.reached[-1] - percentage,
                )
                if lost:
                    self.reached.append(percentage)
                yield self._line(version["createdAt"], what, version["createdBy"], max(lost, 0))

    def _what(self, number: int, percentage: int, enabled: bool) -> str:
        if number == 1:
            return "created, off"
        if percentage < self.reached[-1]:
            return "ROLLED BACK"
        if percentage in self._stages:
            return f"stage {self._stages.index(percentage) + 1} of {len(self._stages)}"
        return "enabled" if enabled else "edited"

    def _inclusions(self) -> Iterator[tuple[datetime, str]]:
        flag = self.flag
        users = [user for included in flag["inclusions"].values() for user in included] if flag else []
        if users != self._included:
            self._included = users
            log = self._emulator.request_log()
            last = next(
                request
                for request in reversed(log)
                if request["method"] == "POST" and request["path"].endswith("/users")
            )
            yield self._line(last["at"], f"QA let in ({len(users)})", last["person"])

    def _line(self, at: str, what: str, by: str, lost: int = 0) -> tuple[datetime, str]:
        percentage = self.reached[-1]
        bar = ("#" * (percentage // 5) or ("." if percentage == 0 else "|")) + "<" * (lost // 5)
        used = sum(1 for request in self._emulator.request_log() if request["at"] <= at)
        return _moment(at), f"{what:<18}  {percentage:>4} %  {bar:<23}  {by:<8}  {used:>3}"

    def _said(self) -> Iterator[tuple[datetime, str]]:
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break  # the line is not yet complete
            self._read += len(line)
            said = _event(line)
            if found := _VERDICT.match(said.get("event", "")):
                name, verdict, why = found["name"], found["verdict"], found["why"]
                at = _moment(said["timestamp"])
                self.verdicts.append(Verdict(at, int(found["percentage"]), name, verdict, why))
                yield at, f"  {verdict.upper():<4}  {name}: {why}"


def end_of(log: Path) -> str:
    """Return the messages of the last 40 lines of Airflow's log, without their other JSON fields."""
    lines = log.read_bytes().splitlines()[-40:]
    return "\n".join(str(_event(line).get("event") or line.decode(errors="replace")) for line in lines)


def _event(line: bytes) -> dict:
    try:
        said = json.loads(line)
    except ValueError:
        return {}  # Airflow also prints lines that are not part of its log
    return said if isinstance(said, dict) else {}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
