"""A warehouse in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


class Warehouse:
    """A database on disk, and the connection `warehouse` to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.run("create table checkouts (flag text, variant text, at text, failed integer)")
        self.run("create table exposures (variant text, users integer)")

    def run(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(sql, values)

    def checkouts(self, flag: str, variant: str, *, failed: int, of: int, at: str = "2026-03-01 13:00") -> None:
        for number in range(of):
            self.run("insert into checkouts values (?, ?, ?, ?)", flag, variant, at, int(number < failed))

    def exposures(self, **users: int) -> None:
        self.run("delete from exposures")
        for variant, count in users.items():
            self.run("insert into exposures values (?, ?)", variant, count)
