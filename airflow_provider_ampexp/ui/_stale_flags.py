"""The stale flags that tasks of this Airflow listed, as the JSON of the page. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_MOST_ROWS = 1000  # of one task
_MOST_NAMES = 20  # of what depends on one flag
_LONGEST = 200  # characters of one text


@dataclass(frozen=True)
class StaleList:
    """The result of one task that listed stale flags.

    :param at: when the task ended
    :param amplitude_conn_id: the connection by which the task read Amplitude
    :param days: for how many days a flag was unchanged at least
    :param result: what the task returned: rows, or the path of a file and its number of rows; ``None`` without a result
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    at: datetime
    amplitude_conn_id: str
    days: int | None
    result: Any


def stale_list(listed: StaleList) -> dict[str, Any]:
    """Return a list with its task, the longest stale flag first.

    ``rows`` is ``None`` if they are in a file, or if the task keeps no result in Airflow.
    """
    task = {"dag_id": listed.dag_id, "run_id": listed.run_id, "task_id": listed.task_id, "map_index": listed.map_index}
    about = {**task, "connection": listed.amplitude_conn_id, "days": listed.days, "at": listed.at.isoformat()}
    if listed.result is None or isinstance(listed.result, Mapping):
        count = (listed.result or {}).get("count")
        return {**about, "count": count if isinstance(count, int) else None, "rows": None}
    given = listed.result if isinstance(listed.result, list) else []
    rows = [row for row in map(stale_row, given) if row is not None]
    rows.sort(key=lambda row: (row["since"] is None, _moment(row["since"]), row["key"]))
    return {**about, "count": len(rows), "rows": rows[:_MOST_ROWS]}


def stale_row(given: object) -> dict[str, Any] | None:
    """Return a row of the table, or ``None`` for a value that names no flag."""
    if not isinstance(given, Mapping) or not (given.get("key") or given.get("id")):
        return None
    named = given.get("reasons")
    reasons = [[_text(reason), _text(at)] for reason, at in named.items()] if isinstance(named, Mapping) else []
    reasons.sort(key=lambda reason: _moment(reason[1]))
    depended_on_by = given.get("depended_on_by")
    flag_id, url = _text(given.get("id")), _text(given.get("url"), 2000)
    return {
        "kind": "experiments" if given.get("kind") == "experiments" else "flags",
        "id": flag_id,
        "key": _text(given.get("key")) or flag_id,
        "name": _text(given.get("name")),
        "reasons": reasons,
        "since": next((at for _, at in reasons if _moment(at) != _NEVER), None),
        "created_by": _text(given.get("created_by")),
        "last_modified_by": _text(given.get("last_modified_by")),
        "depended_on_by": [_text(name) for name in depended_on_by[:_MOST_NAMES]]
        if isinstance(depended_on_by, list)
        else [],
        "url": url if url.startswith(("https://", "http://")) else "",
    }


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


def _moment(text: str | None) -> datetime:
    """Read a time; a text that is none comes after all times."""
    try:
        at = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return _NEVER
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _text(value: object, longest: int = _LONGEST) -> str:
    return value[:longest] if isinstance(value, str) else ""
