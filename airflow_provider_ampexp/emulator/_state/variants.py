"""The variants of a flag or an experiment. Their weights are in ``rolloutWeights``."""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found
from airflow_provider_ampexp.emulator._state.flags import Content


def find(content: Content, key: str) -> dict[str, Any]:
    """Return the variant of this key, or raise a 404."""
    for variant in content.config["variants"]:
        if variant["key"] == key:
            found: dict[str, Any] = variant
            return found
    raise not_found(f"There is no variant {key!r}.")


def view(content: Content, variant: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a read of a variant (contract: Get variant details)."""
    details = {"name": "", "payload": {}, "description": "", **variant}
    weight = content.config["rolloutWeights"].get(variant["key"], 0)
    return {"key": details.pop("key"), **details, "rolloutWeight": weight}


def create(content: Content, fields: dict[str, Any]) -> None:
    """Contract: Create variant. The default weight is 0, so that no user's variant changes."""
    details = dict(fields)
    weight = details.pop("rolloutWeight", 0)
    _refuse_taken(content, details["key"])
    content.config["variants"].append(details)
    content.config["rolloutWeights"][details["key"]] = weight


def edit(content: Content, key: str, fields: dict[str, Any]) -> None:
    """Contract: Edit variant. A renamed variant keeps its weights, inclusions and cohorts."""
    variant = find(content, key)
    details = dict(fields)
    if "rolloutWeight" in details:
        content.config["rolloutWeights"][key] = details.pop("rolloutWeight")
    new_key = details.get("key", key)
    if new_key != key:
        _refuse_taken(content, new_key)
        _rename(content, key, new_key)
    variant.update(details)


def remove(content: Content, key: str) -> None:
    """Contract: Remove variant, with its weights, inclusions and cohorts."""
    variant = find(content, key)
    if len(content.config["variants"]) == 1:
        raise bad_request(f"variants: {key!r} is the last variant and cannot be removed.")
    content.config["variants"].remove(variant)
    content.inclusions.pop(key, None)
    content.cohorts.pop(key, None)
    for weights in _all_weights(content):
        weights.pop(key, None)


def _refuse_taken(content: Content, key: str) -> None:
    if any(variant["key"] == key for variant in content.config["variants"]):
        raise bad_request(f"key: there is a variant {key!r} already.")


def _rename(content: Content, old: str, new: str) -> None:
    for weights in _all_weights(content):
        if old in weights:
            weights[new] = weights.pop(old)
    for included in (content.inclusions, content.cohorts):
        if old in included:
            included[new] = included.pop(old)
    if content.config.get("rolledOutVariant") == old:
        content.config["rolledOutVariant"] = new


def _all_weights(content: Content) -> list[dict[str, Any]]:
    segments = content.config["targetSegments"]
    return [content.config["rolloutWeights"], *(segment.get("rolloutWeights", {}) for segment in segments)]
