"""`make demo-holdback`: release two plain flags, each with its held-back users as the control, and print the timelines.

The demo runs `holdback_release`, like `make demo-rollback`. One feature costs 5 % of the orders. The other is harmless,
and is released on a slow day.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from airflow.version import version as airflow_version

from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from tools.scratch import environment, migrate, run_dag
from tools.timeline import Timeline, end_of

STAGES = [5, 25, 100]
SOAK = 4
USERS = 60_000
USUAL = 1.2  # orders per user
CONTROL, THRESHOLD = "orders per user", "orders of all users"  # the names of the guardrails in the DAG


@dataclass(frozen=True)
class Release:
    """A feature, its effect on orders, and the day of its release."""

    flag_key: str
    what: str
    with_it: float = 1.0
    day: float = 1.0


HARMFUL = Release("new-checkout", "costs 5 % of the orders", with_it=0.95)
HARMLESS = Release("new-search", "harmless, on a slow day", day=0.9)


class Warehouse:
    """A scratch warehouse in SQLite, as `holdback_release` queries it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rng = random.Random(2026)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("create table activity (amplitude_id integer, at text, orders integer, exposed integer)")

    @property
    def connection_json(self) -> str:
        """An Airflow connection to the warehouse."""
        return json.dumps({"conn_type": "sqlite", "host": str(self._path)})

    def trade(self, release: Release, config: dict) -> None:
        """Write the orders of all users at the present percentage of the flag."""
        now = datetime.now(timezone.utc).isoformat(" ", "seconds")
        users = range(USERS)
        variants = Audience.of(config).allocation_of().variants(users)
        rows = [
            (user, now, self._orders(USUAL * release.day * (release.with_it if variant else 1)), int(bool(variant)))
            for user, variant in zip(users, variants, strict=True)
        ]
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("delete from activity")
            db.executemany("insert into activity values (?, ?, ?, ?)", rows)

    def _orders(self, mean: float) -> int:
        """Return the number of orders of a user who visits the shop three times, with an order at random each time."""
        return sum(self._rng.random() < mean / 3 for _ in range(3))


def main() -> int:
    print(f"Airflow {airflow_version} releases two features with example_dags/holdback_release.py:")
    for release in (HARMFUL, HARMLESS):
        print(f"  {release.flag_key:<13} {release.what}")
    print(
        f"{' -> '.join(f'{stage} %' for stage in STAGES)}, with a soak of {SOAK} s at each stage (in real life: days). "
        "No experiment is set up.\n\n"
        f"Two guardrails query the warehouse (here SQLite, {USERS:,} users) before each raise:\n"
        f"  {CONTROL!r:<22} the users with the feature, against those whom the percentage does not let in yet\n"
        f"  {THRESHOLD!r:<22} a usual alert at 5 % below the usual {USUAL} for all users. It only reports.\n"
        "The emulator of this package is Amplitude. Starting both ...",
        flush=True,
    )
    with EmulatorServer() as server, tempfile.TemporaryDirectory(prefix="ampexp-demo-") as home:
        emulator, warehouse = Emulator(server.base_url), Warehouse(Path(home) / "warehouse.db")
        env = environment(Path(home), emulator.connection_json)
        env["AIRFLOW_CONN_WAREHOUSE"] = warehouse.connection_json
        migrate(env)
        began = time.monotonic()
        timelines = [run(release, emulator, warehouse, env, Path(home)) for release in (HARMFUL, HARMLESS)]
        return verdict(*timelines, time.monotonic() - began, Path(home))


def run(release: Release, emulator: Emulator, warehouse: Warehouse, env: dict[str, str], home: Path) -> Timeline:
    """Release one feature, and print its timeline."""
    log = home / f"{release.flag_key}.log"
    log.touch()
    print(f"\n{release.flag_key}: {release.what}")
    timeline = Timeline(emulator, release.flag_key, STAGES, log)

    def watch() -> None:
        if any(timeline.show_new()) and (flag := timeline.flag):
            warehouse.trade(release, flag)

    conf = {"flag_key": release.flag_key, "stages": STAGES, "soak": f"{SOAK}s"}
    run_dag(env, "holdback_release", conf, log, watch)
    return timeline


def verdict(harmful: Timeline, harmless: Timeline, seconds: float, home: Path) -> int:
    """Print the verdicts of both guardrails on both releases, and return 0 if they are as expected."""
    found = {
        (timeline, name): next(
            (verdict for verdict in timeline.verdicts if (verdict.name, verdict.verdict) == (name, "fail")), None
        )
        for timeline in (harmful, harmless)
        for name in (CONTROL, THRESHOLD)
    }
    is_expected = (
        harmful.reached in ([0, 5, 0], [0, 5, 25, 0])  # about half of the releases stop at 5 % already
        and harmless.reached == [0, *STAGES]
        and found[harmful, CONTROL] is not None
        and found[harmful, THRESHOLD] is None
        and found[harmless, THRESHOLD] is not None
    )
    if not is_expected:
        print(f"\nFAILED: users got {harmful.reached} % and {harmless.reached} %. The end of Airflow's logs:\n")
        print(*(end_of(home / f"{release.flag_key}.log") for release in (HARMFUL, HARMLESS)), sep="\n\n")
        return 1
    print(f"\n{'':<42} {'its held-back users':<22} a usual alert")
    for release, timeline in ((HARMFUL, harmful), (HARMLESS, harmless)):
        control, threshold = found[timeline, CONTROL], found[timeline, THRESHOLD]
        stopped = f"STOPPED IT at {control.percentage} %" if control else "let it pass"
        alert = f"would have stopped it at {threshold.percentage} %" if threshold else "let it pass"
        print(f"{release.flag_key:<13} {release.what:<28} {stopped:<22} {alert}")
    print(
        "\nWhy   The held-back users have the same day as the users with the feature, and differ only by chance.\n"
        "      The alert mixes both: it misses the harm of a few users, and a slow day looks like harm.\n"
        f"It took {seconds:.0f} s, no experiment, and no person."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
