"""A scratch warehouse in SQLite, as `guarded_rollout` queries it. Checkouts fail more often from one stage on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

BAD_FROM = 25  # per cent
_CHECKOUTS = 20_000  # of all users, at each stage
_FAILING, _FAILING_WHEN_BAD = 2.0, 6.2  # per cent of the checkouts


class Warehouse:
    """A warehouse with the checkouts of a demo."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("create table checkouts (flag text, variant text, at text, failed integer)")

    @property
    def connection_json(self) -> str:
        """An Airflow connection to the warehouse."""
        return json.dumps({"conn_type": "sqlite", "host": str(self._path)})

    def trade(self, flag: str, percentage: int) -> None:
        """Write the checkouts of a stage at which this percentage of the users has the feature."""
        now = datetime.now(timezone.utc).isoformat(" ", "seconds")
        treated = _CHECKOUTS * percentage // 100
        bad = _FAILING_WHEN_BAD if percentage >= BAD_FROM else _FAILING
        with closing(sqlite3.connect(self._path)) as db, db:
            for variant, size, failing in (("treatment", treated, bad), ("control", _CHECKOUTS - treated, _FAILING)):
                failed = round(size * failing / 100)
                rows = ((flag, variant, now, int(number < failed)) for number in range(size))
                db.executemany("insert into checkouts values (?, ?, ?, ?)", rows)
