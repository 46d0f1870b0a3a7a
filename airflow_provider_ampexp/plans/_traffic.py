"""The number of users and the variation of their metric, from the command line or from the warehouse."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_provider_ampexp.plans._arguments import Misuse


@dataclass(frozen=True)
class Traffic:
    """The number of active users, and the variation of their metric.

    :param users: the users who are active during one soak
    :param variation: the metric's standard deviation divided by its mean
    """

    users: float
    variation: float


_VARIATION = 1.0


def traffic_of(users: float | None, variation: float | None, sql: str | None, conn_id: str | None) -> Traffic | None:
    """Return the traffic of the command line; ``None`` if it names none.

    :raises Misuse: when the arguments contradict each other, or the query does not work
    """
    if (sql is None) != (conn_id is None):
        raise Misuse("--traffic-sql and --traffic-conn-id: expected both or neither")
    if sql is None or conn_id is None:
        if users is None and variation is not None:
            raise Misuse("--variation: expected --users or --traffic-sql with it")
        return None if users is None else Traffic(users, variation or _VARIATION)
    if users is not None:
        raise Misuse("--traffic-sql and --users: expected one of them")
    return _read(conn_id, sql, variation)


def _read(conn_id: str, sql: str, variation: float | None) -> Traffic:
    """Run a query that returns one row: the users and, as a second column, the variation.

    :param variation: the variation, if the query returns only the users
    :raises Misuse: when the connection or the query does not work, or the query returns something else
    """
    from airflow_provider_ampexp.guardrails._warehouse import sql_hook

    try:
        rows = [tuple(row) for row in sql_hook(conn_id).get_records(sql) or ()]
    except Exception as error:  # of the driver
        raise Misuse(f"--traffic-sql failed on connection {conn_id!r}: {error}") from None
    try:
        (row,) = rows
        users, found = (float(str(value)) for value in (*row, variation or _VARIATION)[:2])
        if not (math.isfinite(users) and math.isfinite(found) and users > 0 < found and len(row) <= 2):
            raise ValueError
    except ValueError:
        raise Misuse(
            "--traffic-sql: expected one row with the number of users and, as a second column, the variation, "
            f"both above 0, got {rows[:2]}"
        ) from None
    if variation is not None and len(row) == 2:
        raise Misuse("--variation: the query of --traffic-sql returns the variation too; expected one of them")
    return Traffic(users, found)
