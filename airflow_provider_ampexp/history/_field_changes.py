"""The version history of a flag as a table, with a row for each changed field.

A version can omit fields. An omitted field keeps its last known value. A field that is equal in two versions makes no
row, also if a version between them omits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client._timestamps import parse_timestamp

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import Json, Version

# A class cannot have a field with the name "from".
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
        "from": "Json",
        "to": "Json",
    },
)
COLUMNS = ("at", "by", "kind", "project_id", "id", "key", "version", "field", "from", "to")
"""The columns of the table, in their order."""

CREATED = "created"
"""The field in the row of a history's first version."""

# These have their own columns, or identify the object.
_NOT_COMPARED = frozenset({"id", "projectId", "createdAt", "createdBy", "lastModifiedAt", "lastModifiedBy", "version"})
# The JSON in these is one value, not several fields of the flag.
_WHOLE = frozenset({"payload", "conditions", "values", "parentDependencies"})
_NAMES = ("key", "name")
_NOTHING: tuple[Json, ...] = (None, [], {})


def rows_of(kind: str, id: str, versions: Iterable[Version]) -> Iterator[Row]:
    """Yield the changes of one flag or experiment, oldest first, and by the field's name within a version.

    A part of a field has a path: ``rolloutWeights.on``, ``targetSegments[Beta].percentage``, ``variants[on].payload``.
    ``from`` is ``None`` for a new value. ``to`` is ``None`` for a value that was removed from a visible list or
    mapping. The first version makes one row, with the field ``created`` and the key in ``to``. If its number is not 1,
    the history is incomplete, and the first version makes no row.

    :param kind: ``flags`` or ``experiments``
    :param versions: the whole history, in any order
    """
    known: dict[str, Json] = {}
    history = sorted(versions, key=version_number)
    configs = [config_of(entry) for entry in history]
    key, project_id = (
        next((shown[name] for shown in configs if shown.get(name)), None) for name in ("key", "projectId")
    )
    for place, (entry, config) in enumerate(zip(history, configs, strict=True)):
        key, project_id = config.get("key") or key, config.get("projectId") or project_id
        now = flattened(config)
        changed: dict[str, tuple[Json, Json]] = {}
        if place == 0:
            changed = {CREATED: (None, key)} if version_number(entry) == 1 else {}
        else:
            gone = {path: known.pop(path) for path in list(known) if path not in now and field_of(path) in config}
            changed = {path: (known.get(path), value) for path, value in now.items() if not _same(known, path, value)}
            changed |= {path: (before, None) for path, before in gone.items() if before not in _NOTHING}
        known |= now
        for field in sorted(changed):
            before, after = changed[field]
            yield {
                "at": str(entry.get("createdAt") or ""),
                "by": actor_name(entry.get("createdBy")),
                "kind": kind,
                "project_id": project_id,
                "id": id,
                "key": key,
                "version": version_number(entry),
                "field": field,
                "from": before,
                "to": after,
            }


def within(rows: Iterable[Row], start: datetime, end: datetime | None) -> Iterator[Row]:
    """Yield the rows from ``start`` until before ``end``, if given. A row without a time is in no interval."""
    times = ((row, parse_timestamp(row["at"])) for row in rows)
    return (row for row, at in times if at is not None and start <= at and (end is None or at < end))


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return the rows sorted by time, flag, version and field."""
    return sorted(rows, key=lambda row: (moment_key(row["at"]), row["kind"], row["id"], row["version"], row["field"]))


def flattened(config: Mapping[str, Any]) -> dict[str, Json]:
    """Return the fields of a configuration by path."""
    found: dict[str, Json] = {}
    for name, value in config.items():
        if name not in _NOT_COMPARED:
            _flatten(name, name, value, found)
    return found


def _flatten(path: str, name: str, value: Any, found: dict[str, Json]) -> None:
    if name not in _WHOLE and isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(f"{path}.{key}", str(key), item, found)
    elif name not in _WHOLE and isinstance(value, list) and (names := _names_of(value)):
        for key, item in zip(names, value, strict=True):
            for field, inner in item.items():
                _flatten(f"{path}[{key}].{field}", str(field), inner, found)
    else:
        found[path] = value


def _names_of(items: list[Any]) -> list[str]:
    """Return the names of the items of a list; empty if they have none."""
    for name in _NAMES:
        names = [item.get(name) if isinstance(item, Mapping) else None for item in items]
        if all(isinstance(item_name, str) for item_name in names) and len(set(names)) == len(names):
            return [str(item_name) for item_name in names]
    return []


def _same(known: Mapping[str, Json], path: str, value: Json) -> bool:
    if path not in known:
        return value in _NOTHING
    # 1 and True are equal in Python, but not in the table.
    return known[path] == value and isinstance(known[path], bool) is isinstance(value, bool)


def field_of(path: str) -> str:
    """Return the field of a configuration in which a path is."""
    return min((path.partition(mark)[0] for mark in ".["), key=len)


def moment_key(text: str) -> tuple[float, str]:
    """Return a sort key: by time, and texts without a time last."""
    found = parse_timestamp(text)
    return (float("inf") if found is None else found.timestamp(), text)
