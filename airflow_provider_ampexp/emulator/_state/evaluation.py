"""The evaluation of the service: find the variant of a user. The module shares no code with the other packages."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_ampexp.emulator._state.conditions import User, meets, property_of, text_of
from airflow_provider_ampexp.emulator._state.errors import bad_request
from airflow_provider_ampexp.emulator._state.flags import ManagedObject
from airflow_provider_ampexp.emulator._state.group_evaluation import is_let_in
from airflow_provider_ampexp.emulator._state.groups import Groups
from airflow_provider_ampexp.emulator._state.murmur3 import murmur3

_VARIANT_RANGE = 42949673  # the number of values of hash // 100


class Decision(NamedTuple):
    """The variant of a user, or None, and the step of the evaluation that decided."""

    variant: str | None
    reason: str


def user_of(fields: Mapping[str, Any]) -> User:
    """Return a user of the SDK's fields, with ``gp:`` fields as custom properties, and with an Amplitude id.

    The service knows the Amplitude id of a user or a device. Here it is calculated, and differs from both ids.
    """
    user = {name: value for name, value in fields.items() if not name.startswith("gp:")}
    custom = user.get("user_properties") or {}
    if not isinstance(custom, dict):
        raise bad_request("user_properties: must be an object.")
    given = {name[3:]: value for name, value in fields.items() if name.startswith("gp:")}
    user["user_properties"] = {**custom, **given}
    known = text_of(user.get("user_id")) or text_of(user.get("device_id"))
    if "amplitude_id" not in user and known:
        user["amplitude_id"] = str(100_000_000_000 + zlib.crc32(known.encode()))
    return user


@dataclass(frozen=True)
class World:
    """The flags and experiments by id, and the groups of experiments."""

    objects: Mapping[str, ManagedObject]
    groups: Groups


def evaluate(world: World, thing: ManagedObject, user: User, outer: int = 0) -> Decision:
    """Evaluate a flag or an experiment. ``outer`` is the number of flags that depend on it in this evaluation."""
    config = thing.config
    if config["deleted"] or not config["enabled"]:
        return Decision(None, "archived" if config["deleted"] else "disabled")
    if not _meets_dependencies(world, config.get("parentDependencies") or {}, user, outer):
        return Decision(None, "dependency")
    ids = {text_of(user.get("user_id")), text_of(user.get("device_id"))}
    for variant in config["variants"]:
        if ids.intersection(thing.content.inclusions.get(variant["key"], ())):
            return Decision(variant["key"], "inclusion")
    if thing.kind == "experiments" and not is_let_in(world.groups, thing.id, user):
        return Decision(None, "group")
    if config.get("stickyBucketing") and (kept := thing.assigned.get(str(user.get("amplitude_id")))):
        return Decision(kept, "sticky bucketing")
    for segment in config["targetSegments"]:
        if all(meets(user, condition) for condition in segment["conditions"]):
            share = segment["percentage"], segment["rolloutWeights"], segment.get("bucketingKey")
            return Decision(_bucketed(config, user, *share), f"segment {segment['name']!r}")
    share = config["rolloutPercentage"], config["rolloutWeights"], None
    return Decision(_bucketed(config, user, *share), "all other users")


def assign(world: World, thing: ManagedObject, user: User) -> Decision:
    """Evaluate for a deployment, and store the variant of the user for sticky bucketing."""
    decision = evaluate(world, thing, user)
    if decision.variant is not None and decision.reason != "inclusion" and user.get("amplitude_id"):
        thing.assigned[str(user["amplitude_id"])] = decision.variant
    return decision


def _meets_dependencies(world: World, dependencies: Mapping[str, Any], user: User, outer: int) -> bool:
    met = []
    for id, variants in dependencies.get("flags", {}).items():
        # A dependency in a circle is never met.
        parent = world.objects.get(str(id)) if outer < len(world.objects) else None
        found = evaluate(world, parent, user, outer + 1).variant if parent else None
        met.append(parent is not None and (found or "off") in variants)
    return any(met) if met and dependencies.get("operator") == "any" else all(met)


def _bucketed(
    config: Mapping[str, Any], user: User, percentage: float, weights: Mapping[str, float], key: str | None
) -> str | None:
    weighted = [
        (variant["key"], weights[variant["key"]])
        for variant in config["variants"]
        if weights.get(variant["key"], 0) > 0
    ]
    if percentage == 100 and len(weighted) == 1:
        return str(weighted[0][0])
    value = text_of(property_of(user, key or config["bucketingKey"]))
    if not value:
        return None
    variant_hash, position = divmod(murmur3(f"{config['bucketingSalt']}/{value}"), 100)
    total, upto = sum(weight for _, weight in weighted), 0.0
    for name, weight in weighted if position < percentage else ():
        upto += weight
        if variant_hash * total < _VARIANT_RANGE * upto:
            return str(name)
    return None
