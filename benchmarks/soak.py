"""`python -m benchmarks.soak`: thousands of waits in one triggerer for minutes; memory stays flat, no change is missed.

Five tasks wait for each flag. At random moments random flags are rolled out, and every one of the five must see it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.loopback import FIRST_ID, PAGE, Loopback
from benchmarks.triggerer import Triggerer, a_place, a_triggerer
from benchmarks.waits import OURS

FLAT = 1.05
"""The highest valid ratio of the memory in the last quarter of the time to the memory in the first quarter."""


def soak(triggerer: Triggerer, server: Loopback, options: argparse.Namespace) -> list[str]:
    """Defer the waits, change flags, and return the problems."""
    flags = min(PAGE, options.waits)
    triggerer.defer(OURS, 0, options.waits, flags, options.interval)
    time.sleep(2 * options.interval)  # until each wait has polled once
    lots = random.Random(options.seed)
    changes = sorted(
        zip(
            (lots.uniform(0, options.minutes * 60) for _ in range(options.changes)),
            lots.sample(range(flags), min(options.changes, flags)),
            strict=False,
        )
    )
    began, changed, memory = time.time(), {}, []
    first = triggerer.use()
    while (passed := time.time() - began) < options.minutes * 60:
        while changes and changes[0][0] <= passed:
            _, index = changes.pop(0)
            changed[index] = server.change(str(FIRST_ID + index))
        if not memory or passed >= len(memory) * 5:
            memory.append(triggerer.use().memory)
        time.sleep(0.1)
    last, requests = triggerer.use(), server.requests(began)
    time.sleep(options.interval + 5)
    seen = triggerer.events(OURS)
    concerned = {index: changed[index % flags] for index in range(options.waits) if index % flags in changed}
    missed = concerned.keys() - seen.keys()
    mistaken = seen.keys() - concerned.keys()
    late = sorted(seen[index] - at for index, at in concerned.items() if index in seen)
    quarter = max(1, len(memory) // 4)
    early, end = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    print(
        f"{date.today()}: {options.waits:,} waits for {flags:,} flags, every {options.interval:g} s, for "
        f"{options.minutes:g} minutes, seed {options.seed}.\n"
        f"Changes: {len(changed)}, which concerned {len(concerned):,} waits; {len(missed)} did not see their change, "
        f"{len(mistaken)} saw a change that did not happen.\n"
        f"From change to event: median {statistics.median(late):.1f} s, p99 {late[int(0.99 * len(late))]:.1f} s, "
        f"longest {late[-1]:.1f} s.\n"
        f"Requests: {len(requests)}, {len(requests) / (last.at - began):.2f} a second. CPU of the triggers' process: "
        f"{(last.runner - first.runner) / (last.at - first.at):.1%} of a core.\n"
        f"Its memory: {early / 2**20:.1f} MiB in the first quarter, {end / 2**20:.1f} MiB in the last one "
        f"({end / early:.3f} x), {max(memory) / 2**20:.1f} MiB at most, {len(memory)} samples.",
        flush=True,
    )
    wrong = []
    if missed or mistaken:
        wrong.append("A change was missed, or seen where there was none.")
    if end > FLAT * early:
        wrong.append("The memory is not flat.")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--waits", type=int, default=5000, help="default: 5,000, for at most 1,000 flags")
    parser.add_argument("--minutes", type=float, default=10, help="default: 10")
    parser.add_argument("--changes", type=int, default=200, help="default: 200")
    parser.add_argument("--interval", type=float, default=5, help="of each wait, in seconds (default: 5)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ampexp-bench-") as scratch, a_place(Path(scratch)) as postgres:
        flags = min(PAGE, options.waits)
        with Loopback(flags) as server, a_triggerer(postgres, server, Path(scratch)) as triggerer:
            wrong = soak(triggerer, server, options)
    print("\n".join(wrong) or "Flat, and nothing missed.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
