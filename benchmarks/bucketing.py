"""Bucketing of 10 million users, compared with the cursor alone, and of random ids, compared with the vendor's code."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.row import Part, Row, page, table

USERS = 10_000_000
WAYS = {"the cursor alone": None, "the standard library": 60, "mmh3": 10}
FLAT = 1.25
COMPARED = 1_000_000
CONFIG: Any = {
    "key": "new-checkout",
    "enabled": True,
    "bucketingKey": "amplitude_id",
    "bucketingSalt": "mHdQDzeE",
    "variants": [{"key": "treatment"}, {"key": "control"}, {"key": "other"}],
    "rolloutPercentage": 25,
    "rolloutWeights": {"control": 2, "treatment": 1, "other": 1},
    "targetSegments": [],
}


def measure() -> Part:
    """Measure each way in a fresh process, with all users and with a tenth of them."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="ampexp-bench-") as scratch:
        database = Path(scratch) / "users.sqlite"
        _make_users(database)
        for users in (USERS // 10, USERS):
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.bucketing", way, str(users), str(database)]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[way, users] = json.loads(answer)
    rows = [
        Row(
            f"{USERS:,} users from a cursor, by {way}",
            "the cursor alone",
            f"under {limit} s of CPU",
            f"{found[way, USERS]['seconds']:.1f} s, {USERS / found[way, USERS]['seconds'] / 1e6:.2f} million a second, "
            f"against {found['the cursor alone', USERS]['seconds']:.1f} s",
            found[way, USERS]["seconds"] < limit,
        )
        for way, limit in WAYS.items()
        if limit is not None
    ]
    growth = {way: found[way, USERS]["peak"] / found[way, USERS // 10]["peak"] for way in WAYS}
    rows.append(
        Row(
            f"{USERS:,} users from a cursor: peak memory",
            "the same for a tenth of the users",
            f"flat (at most {FLAT} x)",
            "; ".join(f"{way}: {found[way, USERS]['peak']:.0f} MB, {growth[way]:.2f} x" for way in WAYS),
            max(growth.values()) <= FLAT,
        )
    )
    differences, ours, vendor = _beside_the_vendor()
    rows.append(
        Row(
            f"{COMPARED:,} users, one after the other",
            "the vendor's evaluator (`amplitude-experiment`)",
            "0 differences, ahead of it",
            f"{differences} differences; {ours / 1e3:.0f},000 a second against {vendor / 1e3:.0f},000: "
            f"{ours / vendor:.1f} x",
            differences == 0 and ours > vendor,
        )
    )
    shares = found["mmh3", USERS]["variants"]
    return Part(
        "Who gets what",
        rows,
        [
            f"A flag at 25 % with three variants, and {USERS:,} ids of 12 digits in a table of SQLite. Each way runs "
            "in a fresh process. Seconds are CPU seconds, because other processes share the CPU. Memory is the peak of "
            "the whole process.",
            table(["variant", "users", "share"], [(name, f"{n:,}", f"{n / USERS:.2%}") for name, n in shares.items()]),
        ],
    )


def _make_users(database: Path) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("CREATE TABLE users (amplitude_id TEXT)")
        connection.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
            "INSERT INTO users SELECT CAST(100000000000 + n * 7919 AS TEXT) FROM numbers",
            (USERS,),
        )
    connection.close()


def _beside_the_vendor() -> tuple[int, float, float]:
    """Return the number of differences for random ids, and the users a second: ours, then the vendor's."""
    from airflow_provider_ampexp.bucketing import Audience
    from tests.bucketing.vendor import vendor_flag, vendor_variant

    chosen = random.Random(2026)
    audience, flags = Audience.of(CONFIG), [vendor_flag(CONFIG)]
    spent = {"ours": 0.0, "vendor": 0.0}
    differences = 0
    for _ in range(COMPARED // 10_000):
        rows = [{"amplitude_id": f"{chosen.getrandbits(40)}"} for _ in range(10_000)]
        began = time.process_time()
        ours = [audience.evaluate(row) for row in rows]
        between = time.process_time()
        vendor = [vendor_variant(flags, row) for row in rows]
        spent["ours"] += between - began
        spent["vendor"] += time.process_time() - between
        differences += sum(variant != other for variant, other in zip(ours, vendor, strict=True))
    return differences, COMPARED / spent["ours"], COMPARED / spent["vendor"]


def _main(way: str, users: str, database: str) -> None:
    from airflow_provider_ampexp.bucketing import Audience, _hash
    from benchmarks.listing import _status

    if way == "the standard library":
        _hash._mmh3_hash = None
    elif _hash._mmh3_hash is None:
        raise SystemExit("mmh3 is not installed")
    cursor = sqlite3.connect(database).execute("SELECT amplitude_id FROM users LIMIT ?", (users,))
    ids: Iterator[str] = map(itemgetter(0), cursor)
    began = time.process_time()
    if way == "the cursor alone":
        variants = {"": sum(1 for _ in ids)}
    else:
        variants = {
            str(name): number for name, number in Counter(Audience.of(CONFIG).allocation_of().variants(ids)).items()
        }
    seconds = time.process_time() - began
    print(json.dumps({"seconds": seconds, "peak": _status("VmHWM") / 1000, "variants": variants}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _main(*sys.argv[1:])
    else:
        print(page([measure()], "# Bucketing"))
