"""Find whether the groups of an experiment let a user in. Each group has its own salt, so groups are independent.

The vendor documents that a user is evaluated for each group, and that inclusions come before. The vendor does not
document two assumptions: a group has the hash of a flag, and a holdout group in a slot puts its experiments into that
slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.emulator._state.conditions import User, property_of, text_of
from airflow_provider_ampexp.emulator._state.groups import Groups
from airflow_provider_ampexp.emulator._state.murmur3 import murmur3


def is_let_in(groups: Groups, experiment_id: str, user: User) -> bool:
    """Return true if each group of the experiment lets the user in."""
    holdouts = [group for group in groups.newest_first("holdouts") if experiment_id in group["experiments"]]
    if any(_is_held_out(group, user) for group in holdouts):
        return False
    for group in groups.newest_first("mutexes"):
        slots = [slot for slot in group["slots"] if _has(slot, experiment_id, holdouts)]
        if slots and _slot_of(group, user) not in slots:
            return False
    return True


def _is_held_out(group: Mapping[str, Any], user: User) -> bool:
    ids = _ids(user)
    if ids.intersection(group["individualInclusion"]) or ids.intersection(group["individualExclusion"]):
        return bool(ids.intersection(group["individualInclusion"]))
    position = _position(group, user)
    return position is None or position < group["holdoutPercentage"]


def _has(slot: Mapping[str, Any], experiment_id: str, holdouts: list[dict[str, Any]]) -> bool:
    return experiment_id in slot["experiments"] or any(group["id"] in slot["holdouts"] for group in holdouts)


def _slot_of(group: Mapping[str, Any], user: User) -> Mapping[str, Any] | None:
    position, end = _position(group, user), 0
    for slot in group["slots"]:
        if _ids(user).intersection(slot["individuals"]):
            return dict(slot)
    for slot in group["slots"]:
        end += slot["percentage"]
        if position is not None and position < end:
            return dict(slot)
    return None


def _position(group: Mapping[str, Any], user: User) -> int | None:
    value = text_of(property_of(user, group["bucketingKey"]))
    return murmur3(f"{group['bucketingSalt']}/{value}") % 100 if value else None


def _ids(user: User) -> set[str | None]:
    return {text_of(user.get("user_id")), text_of(user.get("device_id"))}
