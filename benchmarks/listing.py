"""List 100,000 flags, compared with a bare loop over the pages, and measure time and memory by the number of pages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import requests

from benchmarks.loopback import KEY, PAGE, Loopback
from benchmarks.rounds import take_turns
from benchmarks.row import Part, Row, table

PAGES = (1, 10, 100)
FEW = 4
FLAT = 1.25
ROUNDS = {1: 15, 10: 9, 100: 3}
CALLERS = ("a bare loop", "this client")


def bare(base_url: str) -> int:
    """Count the flags with only the library requests."""
    found, cursor = 0, None
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {KEY}"
        while True:
            query = {"limit": PAGE, "cursor": cursor} if cursor else {"limit": PAGE}
            answer = session.get(f"{base_url}/api/1/flags", params=query, timeout=30)
            answer.raise_for_status()
            page = answer.json()
            for _ in page["flags"]:
                found += 1
            cursor = page.get("nextCursor")
            if not cursor:
                return found


def ours(base_url: str) -> int:
    """Count the flags with this client."""
    from airflow_provider_ampexp.client import ManagementClient

    with ManagementClient(KEY, base_url=base_url) as client:
        return sum(1 for _ in client.flags.list())


def measure() -> Part:
    """Measure the time in this process, and the memory in fresh processes."""
    grown = []
    peaks: dict[tuple[str, int], float] = {}
    for pages in PAGES:
        with Loopback(pages * PAGE) as server:
            rounds = take_turns(
                {"a bare loop": lambda: bare(server.base_url), "this client": lambda: ours(server.base_url)},
                ROUNDS[pages],
            )
            for caller in CALLERS:
                peaks[caller, pages] = _peak(caller, server.base_url)
        ratio, told = rounds.ratio("this client", "a bare loop"), rounds.told("this client", "a bare loop")
        grown.append(
            (
                pages,
                told,
                f"{rounds.median('this client') / pages * 1000:.1f}",
                *(f"{peaks[caller, pages]:.1f}" for caller in CALLERS),
            )
        )
    beside_one = {caller: peaks[caller, 100] / peaks[caller, 1] for caller in CALLERS}
    beside_ten = {caller: peaks[caller, 100] / peaks[caller, 10] for caller in CALLERS}
    return Part(
        "Listing",
        [
            Row(
                "listing 100,000 flags (100 pages): time", "bare `requests` loop", "at most 1.15 x", told, ratio <= 1.15
            ),
            Row(
                "listing 100,000 flags (100 pages): peak memory",
                "the same for 1 page and for 10",
                f"of a few pages (at most {FEW} x that for 1), flat in their number (at most {FLAT} x that for 10)",
                f"{peaks['this client', 100]:.1f} MB: {beside_one['this client']:.2f} x; "
                f"{beside_ten['this client']:.2f} x "
                f"(a bare loop: {beside_one['a bare loop']:.2f} x; {beside_ten['a bare loop']:.2f} x)",
                beside_one["this client"] <= FEW and beside_ten["this client"] <= FLAT,
            ),
        ],
        [
            "Pages of 1,000 flags of 1 kB each. Memory is the peak of a fresh process, minus its memory after the "
            "import of all modules. From two pages on, one page is in memory during the read of the next page, "
            f"which takes about twice the memory, also in a bare loop. Flat means: at most {FLAT} x for 100 pages of "
            f"that for 10. A few pages means: at most {FEW} x of that for one.",
            table(
                ["pages", "time beside a bare loop", "ms a page", "peak MB, a bare loop", "peak MB, this client"], grown
            ),
        ],
    )


def _peak(caller: str, base_url: str) -> float:
    """Return the peak memory of a fresh process in megabytes, minus its memory after the imports."""
    command = [sys.executable, "-m", "benchmarks.listing", caller, base_url]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _main(caller: str, base_url: str) -> None:
    import airflow_provider_ampexp.client  # noqa: F401

    before = _status("VmRSS")
    (bare if caller == "a bare loop" else ours)(base_url)
    print((_status("VmHWM") - before) / 1000)


def _status(name: str) -> int:
    """Return a value of the kernel in KiB. The peak of ``getrusage`` is not usable: it includes the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    _main(*sys.argv[1:])
