"""A thousand waits in one triggerer, compared with the deferrable `HttpSensor` and with a poll for each wait."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loopback import FIRST_ID, Loopback
from benchmarks.row import Part, Row, table
from benchmarks.triggerer import Triggerer, a_place, a_triggerer

WAITS = 1000
INTERVAL = 5.0
CHANGES = 100
OURS, HTTP, OWN = "this provider", "HttpSensor", "own polls"
NO_EVENT = "no event"
STAGES = {OURS: ((10, 11), (100, 11), (WAITS, 31)), HTTP: ((10, 10), (WAITS, 20)), OWN: ((10, 10), (WAITS, 20))}
"""The number of waits, and the seconds for which they are measured."""


@dataclass(frozen=True)
class Stage:
    """The cost of a number of waits."""

    waits: int
    seconds: float
    requests: float
    """Requests a second."""
    cpu: float
    """The share of one core that the process of the triggers uses."""
    supervisor: float
    memory: float


@dataclass(frozen=True)
class Taken:
    """The results of one way of waiting."""

    stages: list[Stage]
    latencies: list[float]
    """Seconds from a change to the event in Airflow's database, lowest first."""
    missed: int

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    @property
    def memory_a_wait(self) -> float:
        """The memory of one wait, in KiB."""
        first, last = self.stages[0], self.stages[-1]
        return (last.memory - first.memory) / (last.waits - first.waits) / 1024

    def percentile(self, share: float) -> float:
        """Return the percentile of the seconds from a change to its event; infinity without any event."""
        if not self.latencies:
            return math.inf
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    def told(self, share: float) -> str:
        return f"{self.percentile(share):.1f} s" if self.latencies else NO_EVENT


def measure() -> Part:
    """Measure the ways of waiting one after the other, each in its own triggerer."""
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
        time.sleep(1.5 * INTERVAL)  # until each wait has polled once
        before = triggerer.use()
        time.sleep(seconds)
        after = triggerer.use()
        elapsed = after.at - before.at
        stages.append(
            Stage(
                waits,
                elapsed,
                _rate(server.requests(before.at), elapsed, waits),
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


def _rate(arrivals: list[float], elapsed: float, waits: int) -> float:
    """Return the requests a second. Fewer requests than waits are one a round, so their time is from first to last."""
    if 2 <= len(arrivals) < waits:
        return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    return len(arrivals) / elapsed


def _rows(taken: dict[str, Taken]) -> list[Row]:
    ours, beside = taken[OURS], "the same with deferrable `HttpSensor`; as many own polls"
    what = f"{WAITS:,} waits in one triggerer, interval {INTERVAL:g} s"
    requests, fewest = _beside(taken, lambda value: value.last.requests / ours.last.requests, "1/{:.0f}")
    cpu, least = _beside(taken, lambda value: value.last.cpu / ours.last.cpu, "1/{:.0f}")
    memory, smallest = _beside(taken, lambda value: ours.memory_a_wait / value.memory_a_wait, "{:.2f} x")
    return [
        Row(
            f"{what}: requests a second",
            beside,
            "1/900 or less",
            f"{ours.last.requests:.2f} a second: {requests}",
            None if fewest is None else fewest >= 900,
        ),
        Row(
            f"{what}: CPU of the triggerer",
            beside,
            "1/20 or less",
            f"{ours.last.cpu:.1%} of a core: {cpu}",
            None if least is None else least >= 20,
        ),
        Row(
            f"{what}: memory a wait",
            beside,
            "(none set)",
            f"{ours.memory_a_wait:.1f} KiB: {memory}",
            None if smallest is None or smallest > 1 else True,
        ),
        Row(
            f"{what}: from change to event",
            beside,
            f"p99 under {INTERVAL + 1:g} s (interval + 1 s)",
            f"p99 {ours.told(0.99)}; {taken[HTTP].told(0.99)}; {taken[OWN].told(0.99)} "
            f"({ours.missed} of {CHANGES} changes missed)",
            ours.percentile(0.99) < INTERVAL + 1 and not ours.missed,
        ),
    ]


def _beside(taken: dict[str, Taken], ratio: Callable[[Taken], float], told: str) -> tuple[str, float | None]:
    """Return the ratios to the other ways as a text, and the lowest ratio. A way without any event has no ratio."""
    if not taken[OURS].latencies:
        return NO_EVENT, None
    ratios = {name: ratio(taken[name]) for name in (HTTP, OWN) if taken[name].latencies}
    texts = [told.format(ratios[name]) if name in ratios else NO_EVENT for name in (HTTP, OWN)]
    return "; ".join(texts), min(ratios.values(), default=None)


def _notes(taken: dict[str, Taken]) -> list[str]:
    stages = [
        (
            name,
            f"{stage.waits:,}",
            f"{stage.seconds:.0f}",
            f"{stage.requests:.2f}",
            f"{stage.cpu:.1%}",
            f"{stage.supervisor:.1%}",
            f"{stage.memory / 2**20:.1f}",
        )
        for name, found in taken.items()
        for stage in found.stages
    ]
    late = [
        (
            name,
            measured.told(0.5),
            measured.told(0.99),
            measured.told(1),
            measured.missed,
            f"{measured.memory_a_wait:.1f}",
        )
        for name, measured in taken.items()
    ]
    return [
        "Each way of waiting has its own triggerer, of a real Airflow on PostgreSQL. The tasks are written into the "
        "database as deferred, because a thousand workers would take longer to defer them. Each wait is for its own "
        f"flag. Then {CHANGES} flags change, one every tenth of a second. The time ends when Airflow has the event in "
        "its database. The server lists 1,000 flags a page and has no feed of versions. Each own poll has its own "
        "client, and all share one look-up of the connection: a look-up for each wait blocks the triggerer.",
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
        table(["way", "change to event, median", "p99", "longest", "missed", "KiB a wait"], late),
    ]
