"""Read and compare ``parentDependencies``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def parents_of(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the variants that an object depends on, by the ids of their flags and experiments."""
    return _by_id(config.get("parentDependencies"))


def operator_of(dependencies: Mapping[str, Any] | None) -> str:
    """Return if ``all`` of the dependencies must be met, or ``any``."""
    return str((dependencies or {}).get("operator") or "all")


def same_dependencies(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return true if both mean the same. Without a dependency the operator has no meaning."""
    known, wanted = (
        {id: set(variants) for id, variants in _by_id(dependencies).items()} for dependencies in (one, other)
    )
    return known == wanted and (not known or operator_of(one) == operator_of(other))


def merged_dependencies(read: Any, ours: Any, theirs: Any) -> dict[str, Any] | None:
    """Merge two concurrent changes by parent; ``None`` if both changed the same parent, or the operator."""
    merged: dict[str, list[str]] = {}
    before, mine, other = (_by_id(dependencies) for dependencies in (read, ours, theirs))
    for id in {**mine, **other}:
        was, our, their = (tuple(sorted(variants.get(id, ()))) for variants in (before, mine, other))
        if our != was and their not in (was, our):
            return None
        variants = mine.get(id, ()) if our != was else other.get(id, ())
        if variants:
            merged[id] = list(variants)
    operators = [operator_of(dependencies) for dependencies in (read, ours, theirs)]
    changed = {operator for operator in operators[1:] if operator != operators[0]}
    return {"flags": merged, "operator": changed.pop() if changed else operators[0]} if len(changed) < 2 else None


def _by_id(dependencies: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    flags = (dependencies or {}).get("flags") or {}
    return {str(id): tuple(map(str, variants or ())) for id, variants in flags.items()}
