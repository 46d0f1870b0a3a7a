"""``parentDependencies``: an edit with an unknown parent or variant, or with a circle, is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.emulator._state.errors import bad_request
from airflow_provider_ampexp.emulator._state.flags import ManagedObject


def check_dependencies(
    objects: Mapping[str, ManagedObject], thing: ManagedObject, wanted: Mapping[str, Any] | None, groups: set[str]
) -> None:
    """Raise for dependencies that no user can meet.

    :param groups: the ids of the mutual exclusion and holdout groups
    """
    for id, variants in (wanted or {}).get("flags", {}).items():
        parent = objects.get(id)
        if id in groups:
            continue
        if parent is None or parent.project_id != thing.project_id:
            raise bad_request(f"parentDependencies: there is nothing with the id {id} in project {thing.project_id}.")
        known = {"off", *(variant["key"] for variant in parent.config["variants"])}
        if unknown := [variant for variant in variants if variant not in known]:
            raise bad_request(f"parentDependencies: {id} has no variant {unknown[0]!r}.")
        if thing.id in _ancestors(objects, id):
            raise bad_request(f"parentDependencies: {id} depends on {thing.id}.")


def _ancestors(objects: Mapping[str, ManagedObject], id: str) -> set[str]:
    """Return the id, and the ids of everything that it depends on."""
    found, to_visit = {id}, [id]
    while to_visit:
        thing = objects.get(to_visit.pop())
        parents = ((thing.config.get("parentDependencies") or {}).get("flags") or {}) if thing else {}
        new = set(map(str, parents)) - found
        found |= new
        to_visit += new
    return found
