"""A thousand waits in one triggerer: beside the deferrable `HttpSensor`, and beside a poll of its own for each."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loopback import FIRST_ID, Loopback
from benchmarks.row import Part, Row, table
from benchmarks.triggerer import Triggerer, a_place, a_triggerer

WAITS = 1000
INTERVAL = 5.0
CHANGES = 100
OURS, HTTP, OWN = "this provider", "HttpSensor", "own polls"
STAGES = {OURS: ((10, 11), (100, 11), (WAITS, 31)), HTTP: ((10, 6), (WAITS, 20)), OWN: ((10, 6), (WAITS, 20))}
"""How many waits, and for how many seconds they are measured."""


@dataclass(frozen=True)
class Stage:
    """What so many waits took."""

    waits: int
    seconds: float
    requests: float
    """A second."""
    cpu: float
    """Of one core, of the process in which the triggers run."""
    supervisor: float
    memory: float


@dataclass(frozen=True)
class Taken:
    """What one way of waiting took."""

    stages: list[Stage]
    latencies: list[float]
    """Seconds from a change to Airflow's having the event, lowest first."""
    missed: int

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    @property
    def memory_a_wait(self) -> float:
        """KiB."""
        first, last = self.stages[0], self.stages[-1]
        return (last.memory - first.memory) / (last.waits - first.waits) / 1024

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def measure() -> Part:
    """One after the other, each in a triggerer of its own."""
    with tempfile.TemporaryDirectory(prefix="ampexp-bench-") as scratch, a_place(Path(scratch)) as postgres:
        taken = {}
        for contestant in (OURS, HTTP, OWN):
            with Loopback(WAITS) as server, a_triggerer(postgres, server, Path(scratch)) as triggerer:
                taken[contestant] = _take(contestant, triggerer, server)
    return Part("Waits", _rows(taken), _notes(taken))


def _take(contestant: str, triggerer: Triggerer, server: Loopback) -> Taken:
    stages, waiting = [], 0
    for waits, seconds in STAGES[contestant]:
        triggerer.defer(contestant, waiting, waits, WAITS, INTERVAL)
        waiting = waits
        time.sleep(1.5 * INTERVAL)  # until each has had its first look
        before = triggerer.use()
        time.sleep(seconds)
        after = triggerer.use()
        elapsed = after.at - before.at
        stages.append(
            Stage(
                waits,
                elapsed,
                _rate(server.requests(before.at), elapsed),
                (after.runner - before.runner) / elapsed,
                (after.supervisor - before.supervisor) / elapsed,
                after.memory,
            )
        )
    changed = {}
    for index in random.Random(4).sample(range(WAITS), CHANGES):
        changed |= {index: server.change(str(FIRST_ID + index))}
        time.sleep(0.1)
    limit = time.monotonic() + 30
    while len(seen := triggerer.events(contestant)) < CHANGES and time.monotonic() < limit:
        time.sleep(0.5)
    latencies = sorted(seen[index] - at for index, at in changed.items() if index in seen)
    return Taken(stages, latencies, CHANGES - len(latencies))


def _rate(arrivals: list[float], elapsed: float) -> float:
    """Requests a second; of a few rounds, from the first to the last one."""
    if 2 <= len(arrivals) < 100:
        return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    return len(arrivals) / elapsed


def _rows(taken: dict[str, Taken]) -> list[Row]:
    ours, beside = taken[OURS], "the same with deferrable `HttpSensor`; as many own polls"
    what = f"{WAITS:,} waits in one triggerer, interval {INTERVAL:g} s"
    requests = {name: taken[name].last.requests / ours.last.requests for name in (HTTP, OWN)}
    cpu = {name: taken[name].last.cpu / ours.last.cpu for name in (HTTP, OWN)}
    memory = {name: ours.memory_a_wait / taken[name].memory_a_wait for name in (HTTP, OWN)}
    worst = ours.percentile(0.99)
    return [
        Row(
            f"{what}: requests a second",
            beside,
            "1/900 or less",
            f"{ours.last.requests:.2f} a second: 1/{requests[HTTP]:.0f}; 1/{requests[OWN]:.0f}",
            min(requests.values()) >= 900,
        ),
        Row(
            f"{what}: CPU of the triggerer",
            beside,
            "1/20 or less",
            f"{ours.last.cpu:.1%} of a core: 1/{cpu[HTTP]:.0f}; 1/{cpu[OWN]:.0f}",
            min(cpu.values()) >= 20,
        ),
        Row(
            f"{what}: memory a wait",
            beside,
            "(none set)",
            f"{ours.memory_a_wait:.1f} KiB: {memory[HTTP]:.2f} x; {memory[OWN]:.2f} x",
            None if min(memory.values()) > 1 else True,
        ),
        Row(
            f"{what}: from change to event",
            beside,
            f"p99 under {INTERVAL + 1:g} s (interval + 1 s)",
            f"p99 {worst:.1f} s; {taken[HTTP].percentile(0.99):.1f} s; {taken[OWN].percentile(0.99):.1f} s "
            f"({ours.missed} of {CHANGES} changes missed)",
            worst < INTERVAL + 1 and not ours.missed,
        ),
    ]


def _notes(taken: dict[str, Taken]) -> list[str]:
    stages = [
        (
            name,
            f"{one.waits:,}",
            f"{one.seconds:.0f}",
            f"{one.requests:.2f}",
            f"{one.cpu:.1%}",
            f"{one.supervisor:.1%}",
            f"{one.memory / 2**20:.1f}",
        )
        for name, found in taken.items()
        for one in found.stages
    ]
    late = [
        (
            name,
            f"{statistics.median(one.latencies):.1f}" if one.latencies else "-",
            f"{one.percentile(0.99):.1f}" if one.latencies else "-",
            f"{one.latencies[-1]:.1f}" if one.latencies else "-",
            one.missed,
            f"{one.memory_a_wait:.1f}",
        )
        for name, one in taken.items()
    ]
    return [
        "Each way of waiting had a triggerer of its own, of a real Airflow on PostgreSQL. The tasks were written into "
        "the database as deferred, since to have a thousand workers defer them would take longer than all of this. "
        f"Each wait was for a flag of its own. Then {CHANGES} flags were changed, one every tenth of a second, and it "
        "counts when Airflow had the event in its database. The server lists 1,000 flags a page and has no feed of "
        "versions. The own polls have a client each, but look their connection up once for all: each look-up sends "
        "messages to the triggerer's other process, and with one each, hardly any wait came to poll.",
        table(
            [
                "way",
                "waits",
                "measured for s",
                "requests a second",
                "CPU of the runner",
                "CPU of its supervisor",
                "MiB of the runner",
            ],
            stages,
        ),
        table(["way", "change to event, median s", "p99", "longest", "missed", "KiB a wait"], late),
    ]
