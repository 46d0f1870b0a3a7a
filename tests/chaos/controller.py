"""The controller: start rollouts, edit flags as Maria, kill processes, and poll until every rollout has ended."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import requests

from airflow_provider_ampexp.emulator.control import Emulator
from tests.chaos.database import Database, TaskInstance
from tests.chaos.installation import Installation
from tests.chaos.kills import Killer
from tests.chaos.kinds import KINDS, SOAK, Kind, flag_fields
from tests.chaos.processes import Processes

_TICK = 0.25
_BETWEEN_KILLS = (2.0, 7.0)
# The rates are of all requests, in the order in which the emulator applies the faults. The first slowness is normal.
_SLOWNESS = {"kind": "slow", "rate": 0.35, "seconds": 0.3}
_FAULTS = (
    {"kind": "status", "rate": 0.015, "status": 503},
    {"kind": "status", "rate": 0.01, "status": 500},
    {"kind": "status", "rate": 0.01, "status": 500, "after_work": True},
    {"kind": "html", "rate": 0.01},
    {"kind": "status", "rate": 0.01, "status": 429, "headers": {"Retry-After": "1"}},
    {"kind": "cut_before", "rate": 0.015},
    {"kind": "cut_after", "rate": 0.015},
    {"kind": "cut_after", "rate": 0.1, "methods": ["PATCH"]},
    {"kind": "cut_body", "rate": 0.01},
    {"kind": "garbage", "rate": 0.005, "methods": ["GET"]},
    {"kind": "slow", "rate": 0.01, "seconds": 5.0},  # longer than the client's timeout: carried out late
    {"kind": "slow_after", "rate": 0.01, "seconds": 5.0},
)


@dataclass
class Rollout:
    """One rollout: a flag and a run of a DAG.

    :param foreign_versions: the versions of another actor with the rollouts' own key
    """

    key: str
    kind: Kind
    flag_id: str
    run_id: str
    acts_at: float | None = None
    has_acted: bool = False
    lets_go_at: float | None = None
    ended: str | None = None
    foreign_versions: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.key} ({self.run_id})"


class Controller:
    """Run rollouts and kills until there were enough kills and every rollout has ended, or the time is over."""

    def __init__(
        self,
        emulator: Emulator,
        installation: Installation,
        processes: Processes,
        database: Database,
        *,
        seed: int,
        at_a_time: int,
        kills: int,
    ) -> None:
        self.rollouts: list[Rollout] = []
        self.most_at_a_time = 0
        self.emulator = emulator
        self.installation = installation
        self.processes = processes
        self._database = database
        self._random = random.Random(seed)
        self.killer = Killer(processes, database, self._random)
        self._at_a_time = at_a_time
        self._wanted_kills = kills
        self._kinds = self._shuffled_kinds()
        self._next_sweep = self._next_line = 0.0
        self._struck_before = 0
        self._numbers = count(1)

    def run(self, deadline: float) -> bool:
        """Run, and return true if all rollouts ended before ``deadline``, on this machine's monotonic clock."""
        for fault in (_SLOWNESS, *_FAULTS):
            self.emulator.fault(times=None, **fault)
        next_kill = time.monotonic() + 10
        while (now := time.monotonic()) < deadline:
            tasks = self.look()
            is_done = len(self.killer.kills) >= self._wanted_kills
            if is_done and not self._active():
                return True
            if not is_done and now >= next_kill and self.killer.strike(tasks) is not None:
                next_kill = now + self._random.uniform(*_BETWEEN_KILLS)
            if not is_done and len(self._active()) < self._at_a_time:
                self.begin(next(self._kinds))
            self._play_maria()
            time.sleep(_TICK)
        return False

    def look(self) -> dict[str, TaskInstance]:
        """Update rollouts and kills, restart parts that do not run, and return the tasks by run."""
        now, tasks = time.monotonic(), self._database.task_instances()
        self._note_ends(tasks)
        self.killer.watch(tasks)
        self.killer.mend()
        if now >= self._next_sweep:
            self.processes.sweep()
            self._next_sweep = now + 5
        if now >= self._next_line:
            self._tell()
            self._next_line = now + 30
        return tasks

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Poll until a condition is true, and return true if it became true in time."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.look()
            if condition():
                return True
            time.sleep(_TICK)
        return False

    def clear_faults(self) -> int:
        """Remove all faults, and return the number of requests that they affected."""
        struck = self._struck()
        self._struck_before += struck
        self.emulator.clear_faults()
        return struck

    def faults(self) -> int:
        """Return the number of requests that a fault affected, without requests that were only slow."""
        return self._struck_before + self._struck()

    def _struck(self) -> int:
        return sum(fault["struck"] for fault in self.emulator.faults() if fault["seconds"] != _SLOWNESS["seconds"])

    def requests(self) -> int:
        """Return the number of requests to the emulator."""
        return int(self.emulator.requests()["total"])

    @property
    def tries(self) -> int:
        """The number of tries of all tasks."""
        return self._database.tries()

    def _active(self) -> list[Rollout]:
        return [rollout for rollout in self.rollouts if rollout.ended is None]

    def begin(self, kind: Kind) -> Rollout:
        """Begin one rollout."""
        number = next(self._numbers)
        key = f"{kind.name}-{number}"
        flag = self.emulator.create_flag(key, **flag_fields(kind))
        rollout = Rollout(key, kind, flag["id"], run_id=f"rollout-{number}")
        for _ in range(20):
            if self.installation.trigger(f"chaos-{kind.name}", rollout.run_id, key):
                break
            time.sleep(0.5)
        else:
            raise RuntimeError(f"Airflow's API does not take the run {rollout}.")
        self.rollouts.append(rollout)
        self.most_at_a_time = max(self.most_at_a_time, len(self._active()))
        return rollout

    def _shuffled_kinds(self) -> Iterator[Kind]:
        while True:
            yield from self._random.sample(list(KINDS.values()), len(KINDS))

    def _note_ends(self, tasks: dict[str, TaskInstance]) -> None:
        for rollout in self._active():
            found = tasks.get(rollout.run_id)
            if found is not None and found.run_state in ("success", "failed"):
                rollout.ended = found.run_state

    def _play_maria(self) -> None:
        now = time.monotonic()
        for rollout in self._active():
            if rollout.kind.person is None:
                continue
            if not rollout.has_acted:
                self._act(rollout, now)
            elif rollout.lets_go_at is not None and now >= rollout.lets_go_at:
                self._patch(rollout, {"tags": []})
                rollout.lets_go_at = None

    def _act(self, one: Rollout, now: float) -> None:
        kind = one.kind
        flag = self.emulator.flag(one.flag_id)
        if not flag["enabled"] or flag["rolloutPercentage"] < kind.person_at:
            return
        if one.acts_at is None:
            one.acts_at = now + (0 if kind.at_write else self._random.uniform(0, SOAK))
        if now < one.acts_at:
            return
        assert kind.person is not None
        if kind.at_write:
            self.emulator.edit_before_write("flags", one.flag_id, by="Maria", **kind.person)
        else:
            self._patch(one, kind.person)
        one.has_acted = True
        one.lets_go_at = now + kind.hold if kind.hold else None

    def _patch(self, one: Rollout, fields: dict[str, object]) -> None:
        """Edit a flag as Maria, who has her own key. The faults affect her, too, so she reads the flag back."""
        mine = len(self._versions_by_maria(one))
        for _ in range(10):
            session = requests.Session()
            session.trust_env = False
            headers = {"Authorization": "Bearer ampex_maria"}
            url = f"{self.emulator.base_url}/api/1/flags/{one.flag_id}"
            try:
                session.patch(url, json=fields, headers=headers, timeout=4)
            except requests.RequestException:
                pass
            finally:
                session.close()
            if len(self._versions_by_maria(one)) > mine:
                return
        raise RuntimeError(f"Maria could not change {one}.")

    def _versions_by_maria(self, one: Rollout) -> list[dict]:
        return [version for version in self.emulator.versions("flags", one.flag_id) if version["createdBy"] == "Maria"]

    def _tell(self) -> None:
        ended = Counter(rollout.ended or "going on" for rollout in self.rollouts)
        states = ", ".join(f"{number} {state}" for state, number in sorted(ended.items()))
        print(
            f"  {len(self.killer.kills):>3} kills, {self.faults():>4} faults; rollouts: {states or 'none'}", flush=True
        )
