"""The fields that a task writes, by their names in the version history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# An edit of a segment replaces these fields, also if the new segment omits them.
_OF_EACH_SEGMENT = ("conditions", "percentage", "rolloutWeights")


def written_fields_of_variant(key: str, fields: Iterable[str]) -> list[str]:
    """Return the paths of a variant's fields. They always include the key, so that a removal of the variant counts.

    :param key: the key of the variant
    :param fields: the names of the fields, as in *Edit variant*
    """
    return [
        f"rolloutWeights.{key}" if name == "rolloutWeight" else f"variants[{key}].{name}"
        for name in dict.fromkeys(["key", *fields])
    ]


def written_fields_of_creation(fields: Mapping[str, Any]) -> list[str]:
    """Return the paths of the fields of *Create*. Each variant, weight and deployment has its own path."""
    parts = [
        *(name for name in fields if name not in ("key", "variants", "rolloutWeights", "deployments")),
        *(
            path
            for variant in fields.get("variants", ())
            for path in written_fields_of_variant(variant["key"], variant)
        ),
        *(f"rolloutWeights.{key}" for key in fields.get("rolloutWeights", ())),
        *(f"deployments[{id}]" for id in fields.get("deployments", ())),
    ]
    return list(dict.fromkeys(parts))


def creation_sets(fields: Mapping[str, Any], path: str, value: object) -> bool:
    """Return true if an update to these fields sets the field at this path to this value.

    The service adds fields to a new segment, such as its bucketing key. The update leaves these fields.
    """
    from airflow_provider_ampexp.history._field_changes import flattened  # only a running task needs it

    if path.startswith("deployments["):
        return is_assigned(path, value)
    of_variants = {
        variant["key"]: variant["rolloutWeight"] for variant in fields.get("variants", ()) if "rolloutWeight" in variant
    }
    wanted = flattened({**fields, "rolloutWeights": {**of_variants, **fields.get("rolloutWeights", {})}})
    if path in wanted:
        return wanted[path] == value
    segment, _, name = path.rpartition("].")
    is_named = segment.startswith("targetSegments[") and any(known.startswith(f"{segment}].") for known in wanted)
    return is_named and name.partition(".")[0] not in _OF_EACH_SEGMENT


def is_assigned(path: str, deployments: object) -> bool:
    """Return true if the deployment of a path such as ``deployments[1]`` is in the list."""
    return isinstance(deployments, list) and path in [f"deployments[{id}]" for id in deployments]
