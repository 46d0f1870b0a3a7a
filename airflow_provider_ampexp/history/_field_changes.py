"""The version history of a flag as a table: a row for each field that a version changed.

Any field of a version may be missing, which tells nothing: it is compared with its last known value. Two versions in
a row that show a field in the same way make no row, also if other values that were not shown stood in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.client.types import Json, Version

# "from" is no name that a class can give to a field.
Row = TypedDict(
    "Row",
    {
        "at": str,
        "by": str,
        "kind": str,
        "project_id": "str | None",
        "id": str,
        "key": "str | None",
        "version": int,
        "field": str,
        "from": Json,
        "to": Json,
    },
)
COLUMNS = ("at", "by", "kind", "project_id", "id", "key", "version", "field", "from", "to")
"""The columns of the table, in their order."""

CREATED = "created"
"""The field of the one row of a history's first version."""

# They say what a row says in columns of its own, or which object it is.
_NOT_COMPARED = frozenset({"id", "projectId", "createdAt", "createdBy", "lastModifiedAt", "lastModifiedBy", "version"})
# The JSON that they hold is one value of their owner, not fields of the flag.
_WHOLE = frozenset({"payload", "conditions", "values", "parentDependencies"})
_NAMES = ("key", "name")
_NOTHING: tuple[Json, ...] = (None, [], {})


def rows_of(kind: str, id: str, versions: Iterable[Version]) -> Iterator[Row]:
    """Yield the changes of one flag or experiment, oldest first, and by the field's name within a version.

    A field of a field has a path: ``rolloutWeights.on``, ``targetSegments[Beta].percentage``, ``variants[on].payload``.
    ``from`` is ``None`` for what did not show before, and ``to`` is ``None`` for what is gone from a list or a mapping
    that shows. The first version makes one row, with the field ``created`` and the key in ``to``, since nothing is
    known of what was before; where its number is not 1, the history was cut off, and it makes none.

    :param kind: ``flags`` or ``experiments``
    :param versions: its whole history, in any order
    """
    known: dict[str, Json] = {}
    history = sorted(versions, key=version_number)
    configs = [config_of(one) for one in history]
    key, project_id = (next((one[name] for one in configs if one.get(name)), None) for name in ("key", "projectId"))
    for place, (one, config) in enumerate(zip(history, configs, strict=True)):
        key, project_id = config.get("key") or key, config.get("projectId") or project_id
        now = flattened(config)
        changed: dict[str, tuple[Json, Json]] = {}
        if place == 0:
            changed = {CREATED: (None, key)} if version_number(one) == 1 else {}
        else:
            gone = {path: known.pop(path) for path in list(known) if path not in now and _top(path) in config}
            changed = {path: (known.get(path), value) for path, value in now.items() if not _same(known, path, value)}
            changed |= {path: (before, None) for path, before in gone.items() if before not in _NOTHING}
        known |= now
        for field in sorted(changed):
            before, after = changed[field]
            yield {
                "at": str(one.get("createdAt") or ""),
                "by": actor_name(one.get("createdBy")),
                "kind": kind,
                "project_id": project_id,
                "id": id,
                "key": key,
                "version": version_number(one),
                "field": field,
                "from": before,
                "to": after,
            }


def within(rows: Iterable[Row], start: datetime, end: datetime | None) -> Iterator[Row]:
    """The rows from ``start`` on and before ``end``, if given. A row without a known time is in no interval."""
    times = ((row, parse_timestamp(row["at"])) for row in rows)
    return (row for row, at in times if at is not None and start <= at and (end is None or at < end))


def in_order(rows: Iterable[Row]) -> list[Row]:
    """In the one order that a table has, however its rows were found: by time, flag, version and field."""
    return sorted(rows, key=lambda row: (moment_key(row["at"]), row["kind"], row["id"], row["version"], row["field"]))


def flattened(config: Mapping[str, Any]) -> dict[str, Json]:
    """The fields of a configuration by their paths."""
    found: dict[str, Json] = {}
    for name, value in config.items():
        if name not in _NOT_COMPARED:
            _flatten(name, name, value, found)
    return found


def _flatten(path: str, name: str, value: Any, found: dict[str, Json]) -> None:
    if name not in _WHOLE and isinstance(value, Mapping):
        for key, one in value.items():
            _flatten(f"{path}.{key}", str(key), one, found)
    elif name not in _WHOLE and isinstance(value, list) and (names := _names_of(value)):
        for key, one in zip(names, value, strict=True):
            for field, inner in one.items():
                _flatten(f"{path}[{key}].{field}", str(field), inner, found)
    else:
        found[path] = value


def _names_of(items: list[Any]) -> list[str]:
    """What tells the items of a list apart; empty when nothing does."""
    for name in _NAMES:
        names = [one.get(name) if isinstance(one, Mapping) else None for one in items]
        if all(isinstance(one, str) for one in names) and len(set(names)) == len(names):
            return [str(one) for one in names]
    return []


def _same(known: Mapping[str, Json], path: str, value: Json) -> bool:
    if path not in known:
        return value in _NOTHING
    # 1 and True are equal in Python and not in a table.
    return known[path] == value and isinstance(known[path], bool) is isinstance(value, bool)


def _top(path: str) -> str:
    return min((path.partition(mark)[0] for mark in ".["), key=len)


def moment_key(text: str) -> tuple[float, str]:
    """Sorts by the moment; what names none comes last."""
    found = parse_timestamp(text)
    return (float("inf") if found is None else found.timestamp(), text)
