"""Find changes of the users who get a variant, other than by the percentage, in the service's history.

The tests judge a rollout with this module, so it uses no code of the rollout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from tests.invariants.observed import Entry, History

Config = Mapping[str, Any]
_DECIDES_WHO_GETS_WHAT = ("bucketingKey", "bucketingSalt", "bucketingUnit", "rolloutWeights", "variants")


def changes_by_people(history: History, segment: str | None) -> Iterator[Entry]:
    """Yield the versions of other actors that let more users in or changed variants, other than by the percentage."""
    for before, after in zip(history.entries, history.entries[1:], strict=False):
        if not after.is_ours and is_another(before.config, after.config, segment):
            yield after


def is_sticky(config: Config) -> bool:
    """Return true if users keep their variant."""
    return config.get("stickyBucketing") is True


def gives_it_otherwise(config: Config, segment: str | None) -> bool:
    """Return true if users of an enabled flag get it in another way than by the ramped percentage."""
    return is_sticky(config) or lets_others_in(config, segment)


def lets_others_in(config: Config, segment: str | None) -> bool:
    """Return true if an enabled flag gives the feature to another segment, or to users outside of a ramped segment."""
    for target in config["targetSegments"]:
        if target["name"] != segment and target["percentage"] > 0:
            return True
        if not target["conditions"]:
            return False
    return segment is not None and bool(config["rolloutPercentage"] > 0)


def is_another(before: Config, after: Config, segment: str | None) -> bool:
    """Return true if the second configuration lets more users in or changes variants, other than by the percentage."""
    if any(before.get(name) != after.get(name) for name in _DECIDES_WHO_GETS_WHAT):
        return True
    if is_sticky(after) and not is_sticky(before):
        return True
    if segment is not None and ceil(after["rolloutPercentage"]) > ceil(before["rolloutPercentage"]):
        return True
    was, now = before["targetSegments"], after["targetSegments"]
    if [{**segment, "percentage": 0} for segment in was] != [{**segment, "percentage": 0} for segment in now]:
        return True
    return any(
        ceil(new["percentage"]) > ceil(old["percentage"])
        for old, new in zip(was, now, strict=True)
        if new["name"] != segment
    )
